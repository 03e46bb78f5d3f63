"""The Gunicorn worker class: Uvicorn's, with signals that end it cleanly."""

import asyncio
import signal
import socket
import sys
from types import FrameType
from typing import Any, Final

from gunicorn.arbiter import Arbiter
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from service.board import State
from service.supervision.accept import Acceptor, CountedConnection, others_hold_fewer
from service.supervision.seat import seat

# How long admitted work may go on after SIGINT or SIGQUIT, in seconds.
_QUICK: Final = 2


class WorkerServer(Server):
    """Uvicorn's server, with an accept of its own.

    By itself it would end by the very signal that asked it to; then no exit hook would run.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the base class's for given sockets, but for who takes a connection."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        row = seat.row

        def count(connections: int) -> None:
            row.connections = connections

        def make_protocol() -> CountedConnection:
            protocol = CountedConnection(self.config, self.server_state, self.lifespan.state)
            protocol.on_count = count
            return protocol

        # Whatever has `close` and `wait_closed` is a server to the base class.
        servers: list[Any] = [
            Acceptor(listener, make_protocol, lambda: others_hold_fewer(seat.board, row), self.config.ssl)
            for listener in sockets or []
        ]
        self.servers = servers
        self.started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Safe to be called again and again: Gunicorn repeats some signals every second."""
        if seat.row.state is State.READY:
            seat.row.move(State.DRAINING)
        if sig in (signal.SIGINT, signal.SIGQUIT):
            self.config.timeout_graceful_shutdown = _QUICK
        self.should_exit = True


class Worker(UvicornWorker):
    """One worker process."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - the base class's own form
        "loop": "uvloop",
        "http": CountedConnection,
        # "auto" would take an app whose start failed for one without a lifespan, and serve without a model.
        "lifespan": "on",
        "ws": "none",
        "access_log": False,
        "server_header": False,
    }

    config: Config

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = WorkerServer(self.config)
        # Gunicorn's quick stop; Uvicorn itself does not know this signal.
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGQUIT, None)
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
