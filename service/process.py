"""What one process uses, as the kernel counts it (proc(5)); cheap enough to be asked every second."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """`private_bytes` are in no mapped file, as prepared models are: most are free again when the process ends."""

    cpu_seconds: float
    resident_bytes: int
    private_bytes: int
    open_files: int


def usage_of(pid: int, proc: Path = _PROC) -> Usage | None:
    """None where the process is gone, or another user's."""
    home = proc / str(pid)
    try:
        # The name of the program may contain anything, a bracket too; the numbers follow its last bracket.
        numbers = (home / "stat").read_text().rpartition(")")[2].split()
        _, resident, shared, *_ = map(int, (home / "statm").read_text().split())
        open_files = len(os.listdir(home / "fd"))  # noqa: PTH208 - names are enough
    except (OSError, ValueError):
        return None  # what a process leaves behind until it is reaped has no files, and no memory
    return Usage(
        cpu_seconds=(int(numbers[11]) + int(numbers[12])) / _TICK,
        resident_bytes=resident * _PAGE,
        private_bytes=(resident - shared) * _PAGE,
        open_files=open_files,
    )
