"""Limits of a container, read from made-up trees of both versions of control groups."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from service.cgroup import Cgroup

UNLIMITED_V1 = "9223372036854771712"


def cgroup(tmp_path: Path, membership: str, files: Mapping[str, str]) -> Cgroup:
    """Of a process with this /proc/self/cgroup, where these files lie below /sys/fs/cgroup."""
    for name, text in files.items():
        file = tmp_path / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    (tmp_path / "self").write_text(membership)
    return Cgroup.of_this_process(tmp_path / "fs", tmp_path / "self")


V2_NESTED = "0::/pod/box\n"
V1_NESTED = "5:cpu,cpuacct:/pod/box\n4:memory:/pod/box\n1:name=systemd:/pod\n"


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        pytest.param("0::/\n", {"cpu.max": "150000 100000"}, 1.5, id="v2"),
        pytest.param("0::/\n", {"cpu.max": "max 100000"}, None, id="v2 without a limit"),
        pytest.param(V2_NESTED, {"pod/box/cpu.max": "400000 100000", "cpu.max": "max 1"}, 4, id="v2, ours"),
        pytest.param(
            V2_NESTED, {"pod/box/cpu.max": "400000 100000", "pod/cpu.max": "20000 10000"}, 2, id="v2, a parent's"
        ),
        pytest.param(V2_NESTED, {"cpu.max": "300000 100000"}, 3, id="v2, our group is not visible"),
        pytest.param(
            V1_NESTED, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, id="v1 without a limit"
        ),
        pytest.param(
            V1_NESTED,
            {"cpu/pod/box/cpu.cfs_quota_us": "50000", "cpu/pod/box/cpu.cfs_period_us": "100000"},
            0.5,
            id="v1, ours",
        ),
        pytest.param(V1_NESTED, {"cpu/cpu.cfs_quota_us": "50000"}, None, id="v1 without a period"),
        pytest.param(
            V1_NESTED + "0::/pod\n",
            {
                "cpu/pod/cpu.cfs_quota_us": "700000",
                "cpu/pod/cpu.cfs_period_us": "100000",
                "pod/cpu.max": "600000 100000",
            },
            6,
            id="hybrid",
        ),
        pytest.param("0::/\n", {"cpu.max": "nonsense"}, None, id="unreadable"),
        pytest.param("", {}, None, id="nothing"),
    ],
)
def test_the_tightest_cpu_quota_counts(
    tmp_path: Path, membership: str, files: dict[str, str], cpus: float | None
) -> None:
    assert cgroup(tmp_path, membership, files).cpus() == cpus


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        pytest.param("0::/\n", {"memory.max": "1048576"}, 1 << 20, id="v2"),
        pytest.param("0::/\n", {"memory.max": "max"}, None, id="v2 without a limit"),
        pytest.param(V2_NESTED, {"pod/box/memory.max": "300", "pod/memory.max": "200"}, 200, id="v2, a parent's"),
        pytest.param(V1_NESTED, {"memory/memory.limit_in_bytes": UNLIMITED_V1}, None, id="v1 without a limit"),
        pytest.param(
            V1_NESTED,
            {"memory/pod/box/memory.limit_in_bytes": "500", "memory/memory.limit_in_bytes": UNLIMITED_V1},
            500,
            id="v1, ours",
        ),
        pytest.param(
            V1_NESTED + V2_NESTED,
            {"memory/pod/memory.limit_in_bytes": "500", "pod/memory.max": "400"},
            400,
            id="hybrid",
        ),
        pytest.param("", {}, None, id="nothing"),
    ],
)
def test_the_tightest_memory_limit_counts(
    tmp_path: Path, membership: str, files: dict[str, str], limit: int | None
) -> None:
    assert cgroup(tmp_path, membership, files).memory_limit() == limit


@pytest.mark.parametrize(
    ("membership", "files", "used"),
    [
        pytest.param(V2_NESTED, {"pod/box/memory.current": "7", "pod/memory.current": "9"}, 7, id="v2"),
        pytest.param(V1_NESTED, {"memory/pod/box/memory.usage_in_bytes": "8"}, 8, id="v1"),
        pytest.param(V2_NESTED, {"pod/box/memory.current": "0"}, 0, id="none yet"),
        pytest.param("", {}, None, id="nothing"),
    ],
)
def test_the_memory_used_is_that_of_our_own_group(
    tmp_path: Path, membership: str, files: dict[str, str], used: int | None
) -> None:
    assert cgroup(tmp_path, membership, files).memory_used() == used


@pytest.mark.parametrize(
    ("membership", "files", "size"),
    [
        pytest.param(
            V2_NESTED, {"pod/box/memory.current": "70", "pod/box/memory.stat": "anon 9\ninactive_file 30"}, 40, id="v2"
        ),
        pytest.param(
            V1_NESTED,
            {
                "memory/pod/box/memory.usage_in_bytes": "80",
                "memory/pod/box/memory.stat": "inactive_file 1\ntotal_inactive_file 30",
            },
            50,
            id="v1",
        ),
        pytest.param(V2_NESTED, {"pod/box/memory.current": "70"}, 70, id="no statistics"),
        pytest.param(
            V2_NESTED,
            {"pod/box/memory.current": "20", "pod/box/memory.stat": "inactive_file 30"},
            0,
            id="read too late",
        ),
        pytest.param("", {}, None, id="nothing"),
    ],
)
def test_the_working_set_is_what_cannot_simply_be_dropped(
    tmp_path: Path, membership: str, files: dict[str, str], size: int | None
) -> None:
    assert cgroup(tmp_path, membership, files).working_set() == size


@pytest.mark.parametrize(
    ("membership", "files", "seconds"),
    [
        pytest.param(V2_NESTED, {"pod/box/cpu.stat": "usage_usec 9\nthrottled_usec 2500000"}, 2.5, id="v2"),
        pytest.param(V1_NESTED, {"cpu/pod/box/cpu.stat": "nr_throttled 1\nthrottled_time 1500000000"}, 1.5, id="v1"),
        pytest.param(V2_NESTED, {"pod/box/cpu.stat": "usage_usec 9"}, 0, id="not counted"),
        pytest.param("", {}, 0, id="nothing"),
    ],
)
def test_throttling_is_told_in_seconds(tmp_path: Path, membership: str, files: dict[str, str], seconds: float) -> None:
    assert cgroup(tmp_path, membership, files).throttled_seconds() == seconds


def test_without_a_membership_file_we_are_in_the_root_group(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    found = Cgroup.of_this_process(root, tmp_path / "nowhere")
    assert found == Cgroup((root,), (root / "cpu",), (root / "memory",))


def test_our_groups_are_listed_from_ours_to_the_root(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    found = cgroup(tmp_path, V2_NESTED + V1_NESTED, {"pod/box/a": "", "memory/pod/a": ""})
    assert found == Cgroup(
        v2=(root / "pod/box", root / "pod", root),
        cpu_v1=(root / "cpu",),
        memory_v1=(root / "memory/pod", root / "memory"),
    )


def test_this_machine_can_be_asked() -> None:
    found = Cgroup.of_this_process()
    answers = (found.cpus(), found.memory_limit(), found.memory_used(), found.working_set(), found.throttled_seconds())
    assert all(answer is None or answer >= 0 for answer in answers)
