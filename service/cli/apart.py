"""Something is done in a child process: should it crash, that is a fact like others and not the end of the command."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from service.errors import RepositoryError, StartError
from service.supervision.orphans import end_with_parent, sheltered

T = TypeVar("T")


class Died(StartError):
    """The child was killed, or did not come to an end."""

    code = "died"


def apart(work: Callable[[], T], seconds: float) -> T:
    """What `work` returns, which must be something that can be pickled. Raises RepositoryError as it does, and Died."""
    context = multiprocessing.get_context("fork")  # what was imported for the first is there for the next
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_do, args=(work, sender), daemon=True)
    with sheltered():
        child.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise Died(f"not done after {seconds:g} s, the limit that ONNICORN_LIFECYCLE__LOAD_SECONDS sets")
        result = receiver.recv()
    except EOFError:
        child.join()
        raise Died(_how(child.exitcode or 0)) from None
    finally:
        child.kill()
        child.join()
        receiver.close()
    if isinstance(result, RepositoryError):
        raise result
    return result  # type: ignore[no-any-return]


def _do(work: Callable[[], object], sender: Connection) -> None:
    end_with_parent()
    os.dup2(2, 1)  # what a transform prints is no answer of ours
    try:
        sender.send(work())
    except RepositoryError as error:
        sender.send(error)


def _how(code: int) -> str:
    if code >= 0:
        return f"it ended the process with exit code {code}"
    memory = "; memory is too small" if -code == signal.SIGKILL else ""
    return f"it ended the process by signal {-code} ({signal.strsignal(-code)}){memory}"
