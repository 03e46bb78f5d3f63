"""The Gunicorn worker class: Uvicorn's, around our server."""

import asyncio
import os
import signal
import sys
from typing import Any, Final, NoReturn

from gunicorn.arbiter import Arbiter
from uvicorn.config import Config
from uvicorn_worker import UvicornWorker

from service.knobs import Limits
from service.supervision import last_words
from service.supervision.connection import Connection
from service.supervision.seat import seat
from service.supervision.server import WorkerServer

# The exit code of a worker with a thread that does not end.
_STUCK: Final = os.EX_SOFTWARE


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
        # Nothing of ours asks for the client's address or the outer scheme.
        "proxy_headers": False,
    }

    config: Config
    # Set in the master, before the fork.
    slot: int
    drain_seconds: float
    finish_seconds: float
    limits: Limits

    def init_signals(self) -> None:
        super().init_signals()
        # A terminal that is closed sends SIGHUP to the whole group; only the master may act on it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        last_words.prepare(seat.last_words_of(self.slot))

    def leave(self, code: int) -> NoReturn:
        """End without waiting for threads, as the interpreter would."""
        self.cfg.worker_exit(None, self)
        os._exit(code)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = WorkerServer(
            self.config, seat, self.drain_seconds, self.finish_seconds, lambda: self.leave(0), self.limits
        )
        # Gunicorn's quick stop; Uvicorn itself does not know this signal.
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGQUIT, None)
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        # From here on the loop and the interpreter would wait for every thread, such as one that still loads a model.
        self.leave(_STUCK if seat.is_stuck or seat.has_hung_load else 0)
