"""A process that works for another one ends with it, and by it alone."""

import ctypes
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_OF_THE_TERMINAL: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """The kernel sends this process a signal when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


@contextmanager
def sheltered() -> Iterator[None]:
    """A process that is started inside hears nothing of Ctrl-C, from its first moment on; this one hears it afterwards.

    Neither ends in the middle of a fork, with the words of the interpreter.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
