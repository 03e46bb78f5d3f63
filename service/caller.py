"""Whoever waits for one answer, as the server knows them: since when, and whether they are still there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

# Where a server that knows puts the caller, in the extensions of an ASGI scope.
EXTENSION: Final = "onnicorn.caller"


class ClientLeft(Exception):
    """The connection was lost before there was an answer, and there is nobody left to give one to.

    `stage` is where the request was: body, queue or run.
    """

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


class Caller:
    """`heard` says when the last came of what was read; `begin` is called when the request's turn has come.

    It must not know the connection, which knows it: such a cycle would be left to the garbage collector.
    """

    __slots__ = ("__weakref__", "_heard", "_on_leave", "_read", "begin", "has_left", "is_dismissed", "is_stream")

    def __init__(self, heard: Callable[[], float] = monotonic, begin: Callable[[], object] = lambda: None) -> None:
        self._read = monotonic()
        self._heard = heard
        self.begin = begin
        self.has_left = False
        self.is_stream = False  # of a body that is answered while it comes: it can end in order before all has come
        self.is_dismissed = False  # the service ends: a stream ends in order, with nothing more begun
        self._on_leave: Callable[[], object] | None = None

    def arrived(self) -> float:
        """The moment, on the monotonic clock, at which the request's head had come: read or still unread."""
        return min(self._read, self._heard())

    def leave(self) -> None:
        """The connection is lost; a client that has only closed its own side still waits."""
        self.has_left = True
        if self._on_leave:
            self._on_leave()

    @contextmanager
    def watched(self, on_leave: Callable[[], object]) -> Iterator[None]:
        """Call `on_leave` when the caller leaves while the block runs; at once, if they have left already."""
        if self.has_left:
            on_leave()
        self._on_leave = on_leave
        try:
            yield
        finally:
            self._on_leave = None


class _Nobody(Caller):
    """Never leaves, and may be watched by any number at a time."""

    @contextmanager
    def watched(self, on_leave: Callable[[], object]) -> Iterator[None]:
        yield


NOBODY: Final = _Nobody()


def caller_of(scope: Any) -> Caller:
    """The one in the scope; where the server does not tell, one that never leaves."""
    return (scope.get("extensions") or {}).get(EXTENSION) or Caller()
