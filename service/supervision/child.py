"""A child process that does one thing, for a master that must never do it itself."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic, sleep
from typing import Final

import structlog

from service.errors import StartError

log = structlog.get_logger()

# How often a child is asked whether it has ended, in seconds.
_POLL: Final = 0.02


def fork(name: str, work: Callable[[], None]) -> int:
    """Run `work` in a child; returns its pid. The child ends with 0, or with 1 after it has logged what was wrong."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        work()
        code = 0
    except StartError as error:
        log.critical(error.code, reason=str(error))
    except BaseException:
        log.critical("uncaught", process=name, exc_info=True)
    finally:
        # Not sys.exit: the stack above this call is the master's.
        os._exit(code)


def wait(pid: int, seconds: float = inf) -> int:
    """The exit code; a signal that ended the child is negative. Raises TimeoutError."""
    until = monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if monotonic() >= until:
            raise TimeoutError
        sleep(_POLL)


def kill(pid: int) -> None:
    """A child that has ended already is no error."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def is_alive(pid: int) -> bool:
    """A child that has ended but was not reaped yet still counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
