"""A worker's HTTP server: Uvicorn's, with an accept of its own and a way out on which nothing is lost.

On its way out a worker passes through these steps, each with the promise that it keeps:

    asked      for `drain_seconds` every answer says `Connection: close`; what idle, silent or half-sent connections
               send is answered. Listeners stay open: balancers need time to notice that the service ends. If only
               this worker ends, it leaves what is new to its siblings, where there are any.
    refusing   the backlog has been accepted, the listeners are closed; what still arrives gets 503 `draining` if the
               whole service ends, else an answer
    goodbye    idle connections get a FIN, and are read until the client closes too: a FIN, never a RST; a stream
               that still comes is told to end, with an answer to what it has begun
    finishing  what was admitted ends, a stream that has come wholly too; at last it is told to end as well, and so is
               whoever still waits for a body
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from time import monotonic
from types import FrameType
from typing import Any, Final

import structlog
from starlette.types import Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.server import Server

from service.errors import Draining
from service.knobs import Limits
from service.rows import State
from service.seat import Seat
from service.supervision.accept import Acceptor, others_are_ready, others_hold_fewer
from service.supervision.connection import Connection
from service.supervision.crowd import Crowd
from service.web.middleware import Accounting, LastResort

log = structlog.get_logger()

# How long a step waits for clients, in seconds; and how long admitted work may go on after SIGINT or SIGQUIT.
_LINGER: Final = 0.5
_QUICK: Final = 2.0
# How long a worker outlives its master.
_ORPHAN: Final = 0.8
_HANDSHAKE: Final = 2.0
_POLL: Final = 0.02
_BEAT: Final = 0.5
# How long a worker that cannot load waits before it lets itself be replaced, and its exit code (EX_TEMPFAIL).
_BACK_OFF: Final = 2.0
_TRY_AGAIN: Final = 75
# Objects made and not freed since the last collection; a request leaves no cycles unless it fails.
_COLLECT_AFTER: Final = 50_000
_CLOSE: Final = (b"connection", b"close")
_LIMITS: Final = Limits()


class WorkerServer(Server):
    """`finish_seconds` is how long admitted requests may take once the drain is over.

    `leave_at_once` ends the process, threads and all, with 0: before it serves, nobody would miss it.
    """

    def __init__(
        self,
        config: Config,
        seat: Seat,
        drain_seconds: float,
        finish_seconds: float,
        leave_at_once: Callable[[], object],
        limits: Limits = _LIMITS,
    ) -> None:
        super().__init__(config)
        self._leave_at_once = leave_at_once
        self._seat = seat
        self._limits = limits
        self._crowd = Crowd(self.server_state.connections, limits, config.timeout_keep_alive, self._count)
        self._drain_seconds = drain_seconds
        self._finish_seconds = finish_seconds
        self._asked: float | None = None
        # The base class would leave by it at once, and until then speak of it ten times a second.
        self._max_requests, self.limit_max_requests = self.limit_max_requests, None
        self._quick = False
        self._is_orphan = False
        self._acceptors: list[Acceptor] = []
        self._master = os.getppid()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the base class's for given sockets, but for who takes a connection."""
        if self._seat.board.service.terminating:
            self._leave()  # the signal came between the fork and our handlers, and will not come again
        beat = asyncio.create_task(self._beat())
        try:
            await self.lifespan.startup()
        finally:
            beat.cancel()
        if self.lifespan.should_exit:
            await self._refuse_start()
        _spare_the_collector()
        self._acceptors = [
            Acceptor(
                listener, self._make_connection, self._leaves_to_others, self.config.ssl, self._limits.header_seconds
            )
            for listener in sockets or []
        ]
        self._seat.row.accepts = True
        self.started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Safe to be called again and again: Gunicorn repeats some signals every second.

        The base class would remember the signal and end by it at last, and then no exit hook would run.
        """
        self._quick = self._quick or sig in (signal.SIGINT, signal.SIGQUIT)
        asyncio.get_running_loop().call_soon_threadsafe(self._leave)

    async def on_tick(self, counter: int) -> bool:
        # The base class does so once a second at most, which is too seldom for a heartbeat of one.
        await self._notify()
        await super().on_tick(counter)
        self._crowd.look(monotonic())
        limit = self._max_requests
        if (limit and self.server_state.total_requests >= limit) or self._seat.has_hung_load:
            self._leave_in_turn()
        if self._seat.is_stuck:
            self._leave()
        self._leave_if_orphaned()
        if self._asked is None:
            return False
        return self._quick or monotonic() - self._asked >= self._drain_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stop_accepting(sockets or [])
        if self._seat.board.service.terminating:
            for connection in self._connections():
                connection.app = _refuse
        linger = 0 if self._quick else _LINGER
        await self._wait(lambda: not self.server_state.connections, linger)
        for connection in self._connections():
            connection.say_goodbye(at_last=self._quick)
        await self._wait(self._has_finished, _QUICK if self._quick else self._finish_seconds)
        for connection in self._connections():
            connection.say_goodbye(at_last=True)
        await self._wait(lambda: not self.server_state.connections, linger)
        await self._abandon()
        await self.lifespan.shutdown()

    async def _beat(self) -> None:
        """While the models load: Gunicorn never misses a worker that has not beaten for the first time."""
        while True:
            await self._notify()
            self._leave_if_orphaned()
            await asyncio.sleep(_BEAT)

    async def _notify(self) -> None:
        if self.config.callback_notify:
            await self.config.callback_notify()

    async def _refuse_start(self) -> None:
        """At the first start Gunicorn ends the service by this code. Later siblings serve on, we come back slowly."""
        if not self._seat.board.service.started:
            sys.exit(STARTUP_FAILURE)
        await self._wait(lambda: self._asked is not None, _BACK_OFF)
        sys.exit(_TRY_AGAIN)

    def _make_connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, crowd=self._crowd)

    def _count(self, connections: int) -> None:
        self._seat.row.connections = connections

    def _leave_if_orphaned(self) -> None:
        """Nobody is left to replace us, or to stop us: an orphan must not serve."""
        if os.getppid() != self._master and not self._is_orphan:
            self._quick = self._is_orphan = True
            self._leave()
            asyncio.get_running_loop().call_later(_ORPHAN, self._leave_at_once)

    def _leaves_to_others(self, accepted: int) -> bool:
        """Once the whole service ends we take whatever comes; if only we do, what nobody else is there for."""
        board, row = self._seat.board, self._seat.row
        if self._asked is None:
            return others_hold_fewer(board, row, accepted)
        return not board.service.terminating and others_are_ready(board, row)

    def _leave_in_turn(self) -> None:
        """Workers that started together come to such a point together; they go one after the other."""
        board = self._seat.board
        if sum(row.state is State.READY for row in board.occupied()) >= board.service.workers:
            self._leave()

    def _leave(self) -> None:
        """Every answer from now on is its connection's last."""
        if self._asked is not None:
            return
        self._asked = monotonic()
        if not self.started:
            self._seat.row.move(State.STOPPED)
            self._leave_at_once()
            return
        if self._seat.row.state is State.READY:
            self._seat.row.move(State.DRAINING)
        # The base class copies the first list into the second, once a second.
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        for connection in self._connections():
            connection.answer_last()
        log.info("draining", connections=len(self.server_state.connections), quick=self._quick)

    async def _stop_accepting(self, listeners: Iterable[socket.socket]) -> None:
        self._seat.row.accepts = False
        for acceptor in self._acceptors:
            if self._seat.board.service.terminating:
                acceptor.take_backlog()
            acceptor.close()
        # At once: whoever comes between the last look at the backlog and this is reset with what they have sent.
        for listener in listeners:
            listener.close()
        await self._wait(lambda: all(acceptor.is_settled for acceptor in self._acceptors), _HANDSHAKE)
        for acceptor in self._acceptors:
            acceptor.abandon()

    async def _wait(self, is_done: Callable[[], bool], seconds: float) -> None:
        """The heart goes on beating: the master kills a worker that is silent."""
        until = monotonic() + seconds
        while not is_done() and monotonic() < until:
            await self._notify()
            self._crowd.look(monotonic())
            await asyncio.sleep(_POLL)

    def _has_finished(self) -> bool:
        """All requests are answered, and all answers have left us."""
        return not self.server_state.tasks and not any(connection.unsent for connection in self._connections())

    async def _abandon(self) -> None:
        """Whoever is still here has had their time."""
        tasks = list(self.server_state.tasks)
        if tasks:
            log.warning("requests_abandoned", requests=len(tasks))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LINGER)  # each says so to its client
        for connection in self._connections():
            connection.transport.close()

    def _connections(self) -> list[Any]:
        return list(self.server_state.connections)


def _spare_the_collector() -> None:
    """What has been loaded stays: looking at it again and again for cycles would cost a tenth of every request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


async def _draining(scope: Scope, receive: Receive, send: Send) -> None:
    raise Draining


_refuse: Final = Accounting(LastResort(_draining))
