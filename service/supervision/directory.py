"""The directory of one running service: metric files and manifests.

Fresh for each master and named by it, so that two services on one host never meet; those of dead masters are removed.
"""

import os
import shutil
from pathlib import Path

from service.errors import StartError

_PREFIX = "onnicorn"


class DirectoryUnusable(StartError):
    code = "directory_unusable"


def create(parent: Path) -> Path:
    """`<parent>/onnicorn-<pid>-<start>` of this process. Raises DirectoryUnusable."""
    prune(parent)
    directory = parent / f"{_PREFIX}-{os.getpid()}-{_start_of(os.getpid())}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DirectoryUnusable(
            f"{directory} cannot be made: {error.strerror}; set ONNICORN_RUN__DIR to a writable directory"
        ) from None
    return directory


def prune(parent: Path) -> None:
    """Remove what masters left behind that are dead, or whose pid another process has now."""
    for directory in parent.glob(f"{_PREFIX}-*-*"):
        _, pid, start = directory.name.split("-", 2)
        if pid.isdecimal() and _start_of(int(pid)) != start:
            remove(directory)


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _start_of(pid: int) -> str | None:
    """When the process began, in clock ticks since boot (proc(5), field 22 of stat); None for no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
