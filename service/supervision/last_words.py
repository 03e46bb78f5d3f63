"""The last words of a worker: where its threads stood when it was killed or crashed.

They are written without the interpreter, which may be the one that stands still, or may be broken; so into a file, from
which the master logs them.
"""

import faulthandler
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

_MOST: Final = 64 << 10  # characters; the stack that led to the end comes early
_BEHIND: Final = "\nExtension modules:"


def prepare(file: Path) -> None:
    """From now on SIGABRT, by which Gunicorn ends a silent worker, and crashes of native code leave some."""
    faulthandler.enable(file.open("w"))


def report(file: Path, slot: int, pid: int) -> None:
    """Log what the worker left, if it did, and remove it."""
    try:
        with file.open(errors="replace") as words:
            said = words.read(_MOST).partition(_BEHIND)[0]
        file.unlink()
    except FileNotFoundError:
        return
    if said:
        log.error("worker_stacks", slot=slot, worker=pid, stacks=said.splitlines())
