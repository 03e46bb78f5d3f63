"""The Gunicorn worker class: Uvicorn's, with signals that end it cleanly."""

import asyncio
import signal
import sys
from types import FrameType
from typing import Any, Final

from gunicorn.arbiter import Arbiter
from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from service.board import State
from service.supervision.connection import Connection
from service.supervision.seat import seat

# How long admitted work may go on after SIGINT or SIGQUIT, in seconds.
_QUICK: Final = 2


class WorkerServer(Server):
    """Uvicorn's server, which would end by the very signal that asked it to; then no exit hook would run."""

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
        "http": Connection,
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
