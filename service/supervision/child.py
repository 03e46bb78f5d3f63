"""A child process that does one thing, for a master that must never do it itself."""

import os
import signal
from collections.abc import Callable

import structlog

from service.errors import StartError

log = structlog.get_logger()


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


def wait(pid: int) -> int:
    """The exit code; a signal that ended the child is negative."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def is_alive(pid: int) -> bool:
    """A child that has ended but was not reaped yet still counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
