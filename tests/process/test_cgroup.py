"""The plan in a real control group, of whichever version this machine lets us make one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.process.double import serve_double

ROOT = Path("/sys/fs/cgroup")
NAME = f"onnicorn-test-{os.getpid()}"
MEBIBYTE = 1 << 20


@contextmanager
def group(controller: str, limits: dict[str, str]) -> Iterator[Path]:
    """A group below ours; `limits` are its files."""
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    ours = next((path for _, names, path in lines if controller in names.split(",")), None)
    if ours is None:
        pytest.skip(f"there is no control group for {controller!r}")
    place = ROOT / controller / ours.strip("/") / NAME
    try:
        place.mkdir()
        for file, value in limits.items():
            (place / file).write_text(value)
    except OSError as error:
        with suppress(OSError):
            place.rmdir()
        pytest.skip(f"no control group can be made in {place.parent}: {error.strerror}")
    try:
        yield place
    finally:
        place.rmdir()


def groups(cpus: float, memory: int) -> list[tuple[str, dict[str, str]]]:
    """What makes these limits, in version 2 or in version 1."""
    if (ROOT / "cgroup.controllers").is_file():
        return [("", {"cpu.max": f"{cpus * 100_000:.0f} 100000", "memory.max": str(memory)})]
    quota = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": f"{cpus * 100_000:.0f}"}
    return [("cpu", quota), ("memory", {"memory.limit_in_bytes": str(memory)})]


def planned(repository: Path, cpus: float, memory: int) -> subprocess.CompletedProcess[str]:
    """What `onnicorn plan` says inside of these limits."""
    with ExitStack() as stack:
        places = [stack.enter_context(group(*each)) for each in groups(cpus, memory)]

        def enter() -> None:
            for place in places:
                (place / "cgroup.procs").write_text(str(os.getpid()))

        return subprocess.run(
            (sys.executable, "-m", "service.cli", "plan"),
            env={
                **os.environ,
                "ONNICORN_REPOSITORY__PATH": str(repository),
                "ONNICORN_CACHE__DIR": str(repository.parent),
            },
            preexec_fn=enter,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def test_the_plan_follows_the_quota_and_the_limit(tmp_path: Path) -> None:
    said = planned(serve_double(tmp_path), cpus=0.5, memory=500 * MEBIBYTE)
    assert said.returncode == 0, said.stderr
    assert "1 CPU: the cgroup quota grants 0.5 of the" in said.stdout
    assert "memory suffices" in said.stdout
    assert "of 500 MiB" in said.stdout
    assert "of request bodies in each worker: memory for 512 MiB is missing" in said.stdout


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    said = planned(serve_double(tmp_path), cpus=0.5, memory=100 * MEBIBYTE)
    assert said.returncode == 1
    assert "cannot fit into memory" in said.stdout + said.stderr
