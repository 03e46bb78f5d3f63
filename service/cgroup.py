"""What the kernel grants this container, and what the container has used of it.

Reads control groups of both versions (kernel documentation: admin-guide/cgroup-v2 and cgroup-v1). A limit may stand on
any level from our own group up to the root, so every level is asked and the tightest counts. A file that is not there
is a limit that is not set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")
# cgroup v1 writes "no limit" as a number near 2**63, rounded down to a page.
_V1_UNLIMITED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The groups that this process is in: `v2` of the unified hierarchy, `v1` by controller."""

    v2: tuple[Path, ...]
    cpu_v1: tuple[Path, ...]
    memory_v1: tuple[Path, ...]

    @classmethod
    def of_this_process(cls, root: Path = ROOT, membership: Path = MEMBERSHIP) -> "Cgroup":
        """Every group from ours up to the root, by hierarchy. Unreadable membership reads as the root group."""
        lines = membership.read_text().splitlines() if membership.is_file() else []
        paths = {names: path for _, names, path in (line.split(":", 2) for line in lines)}

        def groups(controller: str) -> tuple[Path, ...]:
            mount = root / controller if controller else root
            name = next((path for names, path in paths.items() if controller in names.split(",")), "/")
            return tuple(_upwards(mount, name))

        return cls(groups(""), groups("cpu"), groups("memory"))

    def cpus(self) -> float | None:
        """The CPU quota as a number of CPUs; None where there is none."""
        return _tightest([*map(_quota_v2, self.v2), *map(_quota_v1, self.cpu_v1)])

    def memory_limit(self) -> int | None:
        """Bytes; None where there is no limit."""
        v2 = [_number(group / "memory.max") for group in self.v2]
        v1 = [_number(group / "memory.limit_in_bytes") for group in self.memory_v1]
        limit = _tightest([*v2, *(value for value in v1 if value is not None and value < _V1_UNLIMITED)])
        return None if limit is None else int(limit)

    def memory_used(self) -> int | None:
        """Bytes that our own group uses now, page cache included; None where nobody counts."""
        v2 = [_number(self.v2[0] / "memory.current")]
        v1 = [_number(self.memory_v1[0] / "memory.usage_in_bytes")]
        return next((int(value) for value in (*v2, *v1) if value is not None), None)

    def working_set(self) -> int | None:
        """Bytes that our own group uses and that the kernel cannot simply drop, as Kubernetes counts them."""
        used = self.memory_used()
        if used is None:
            return None
        v2 = _stat(self.v2[0] / "memory.stat", "inactive_file")
        v1 = _stat(self.memory_v1[0] / "memory.stat", "total_inactive_file")
        return max(0, used - (v2 or v1))

    def throttled_seconds(self) -> float:
        """How long our own group has been held back by its CPU quota, since it exists."""
        v2 = _stat(self.v2[0] / "cpu.stat", "throttled_usec") / 1e6
        v1 = _stat(self.cpu_v1[0] / "cpu.stat", "throttled_time") / 1e9
        return v2 or v1


def _upwards(mount: Path, name: str) -> Iterator[Path]:
    """Our group and its parents; in a container the group's own path may not be visible, its root is."""
    group = mount / name.strip("/")
    while group != mount:
        if group.is_dir():
            yield group
        group = group.parent
    yield mount


def _tightest(limits: list[float | None]) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _quota_v2(group: Path) -> float | None:
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def _quota_v1(group: Path) -> float | None:
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    return quota / period if quota and period else None


def _number(file: Path) -> float | None:
    text = _read(file)
    return int(text) if text.isdecimal() else None


def _stat(file: Path, key: str) -> int:
    lines = (line.split() for line in _read(file).splitlines())
    return next((int(value) for name, value in lines if name == key), 0)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
