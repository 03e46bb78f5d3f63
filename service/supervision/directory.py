"""The directory of one running service: metric files and manifests.

Fresh for each master, so that two services on one host never meet, nor two containers of a pod that share /dev/shm,
where each master is process 1. A master holds a lock on its own for as long as one of its processes lives; what nobody
holds was left behind by a death, and is removed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from service.errors import StartError

_PREFIX: Final = "onnicorn-"
_LOCK: Final = "onnicorn.lock"


class DirectoryUnusable(StartError):
    """Files of the running service cannot be kept where they should be."""

    code = "directory_unusable"


def create(parent: Path) -> Path:
    """A new directory below `parent`, locked by this process and its forks. Raises DirectoryUnusable."""
    prune(parent)
    while True:
        try:
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            # Never closed: the lock ends with the last process that has inherited it.
            fcntl.flock(os.open(directory / _LOCK, os.O_RDONLY | os.O_CREAT, 0o600), fcntl.LOCK_SH)
        except OSError as error:
            raise DirectoryUnusable(
                f"no directory can be made in {parent}: {error.strerror}; set ONNICORN_RUN__DIR to a writable directory"
            ) from None
        if directory.exists():  # else another service has taken it for abandoned, before it was locked
            return directory


def prune(parent: Path) -> None:
    """Remove what masters left behind that are dead, and nothing that bears no lock file of ours."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), _held(lock):
            remove(lock.parent)


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Alone, or BlockingIOError."""
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
