"""New connections go to the worker that holds the fewest.

All workers listen on one socket, and the kernel wakes them all; whoever is quickest wins, often one and the same. So a
worker that sees a sibling with fewer connections leaves the newcomer in the backlog for a moment, and the sibling takes
it. A moment only: if the sibling is busy after all, the connection is taken.
"""

import asyncio
import errno
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog

from service.board import Board
from service.rows import State, WorkerRow

log = structlog.get_logger()

# How often, and how long each time in seconds, a connection is left to others.
_PATIENCE: Final = 3
# How many are taken in one turn of the loop.
_AT_ONCE: Final = 64
_PAUSE: Final = 0.002
# How long to accept nothing when the process, or the machine, has run out of something; any other error is that of one
# client (accept(2)).
_SHORTAGE: Final = 1.0
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# How many may shake hands at the same time; the one that has taken the longest makes room for a newcomer.
_MOST_HANDSHAKES: Final = 128
# A sibling whose loop has been silent for longer would not come to take it.
_FRESH_SECONDS: Final = 5.0


def others_hold_fewer(board: Board, own: WorkerRow, accepted: int = 0) -> bool:
    """Is there a ready worker, with a loop that beats, that holds fewer connections than we do?

    `accepted` of ours are not counted yet.
    """
    held = own.connections + accepted
    if not held:
        return False
    return any(
        row is not own and row.state is State.READY and row.connections < held and row.silent_seconds < _FRESH_SECONDS
        for row in board.occupied()
    )


def others_are_ready(board: Board, own: WorkerRow) -> bool:
    """Is there a ready worker besides us, with a loop that beats?"""
    return any(
        row.state is State.READY and row.pid != own.pid and row.silent_seconds < _FRESH_SECONDS
        for row in board.occupied()
    )


class Acceptor:
    """Takes connections from one listening socket, in place of the event loop's own server."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        leave_to_others: Callable[[int], bool],
        tls: ssl.SSLContext | None,
        handshake_seconds: float = 60,
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._leave_to_others = leave_to_others
        self._tls = tls
        self._handshake_seconds = handshake_seconds if tls else None
        self._loop = asyncio.get_running_loop()
        self._patience = _PATIENCE
        self._pause: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order in which they came
        self._backlog = select.poll()
        self._backlog.register(listener, select.POLLIN)
        listener.setblocking(False)
        self._loop.add_reader(listener, self._on_readable)

    def close(self) -> None:
        """Accept no more."""
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    @property
    def is_settled(self) -> bool:
        """Connections that were accepted have become protocols, or failed."""
        return not self._tasks

    def abandon(self) -> None:
        """End the handshakes that still go on."""
        for task in self._tasks:
            task.cancel()

    def take_backlog(self) -> None:
        """Accept whatever waits: once the listener is closed the kernel would reset it."""
        with suppress(OSError):  # out of files: what cannot be taken now cannot be taken at all
            while self._accept():
                pass

    def _on_readable(self) -> None:
        """Several at once: a loop that has much to do comes by so seldom that new clients would wait for seconds."""
        for _ in range(_AT_ONCE):
            if self._patience and self._leave_to_others(len(self._tasks)):
                self._patience -= 1
                self._leave_for(_PAUSE)
                return
            self._patience = _PATIENCE
            try:
                self._accept()
            except OSError as error:
                log.error("accept_failed", reason=str(error))
                self._leave_for(_SHORTAGE)
                return
            if not self._backlog.poll(0):
                return

    def _accept(self) -> bool:
        """Take one; False where there is none. Raises OSError where there is not enough of something."""
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return False  # a sibling has taken it
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise
            return True  # this client has given up, or cannot be reached any more
        connection.setblocking(False)
        task = self._loop.create_task(
            self._loop.connect_accepted_socket(
                self._make_protocol, connection, ssl=self._tls, ssl_handshake_timeout=self._handshake_seconds
            )
        )
        if self._tls and len(self._tasks) >= _MOST_HANDSHAKES:
            longest = next(iter(self._tasks))
            del self._tasks[longest]
            longest.cancel()
        self._tasks[task] = None
        task.add_done_callback(partial(self._settle, connection))
        return True

    def _settle(self, connection: socket.socket, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            connection.close()  # before it has begun nobody else would
        elif error := task.exception():
            log.debug("handshake_failed", reason=str(error))  # such as a client that speaks no TLS

    def _leave_for(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._on_readable)
