"""The ops process: probes and metrics on a port of their own, from a process that no request can block.

It forks from the master before any worker does, so that a probe during a long preparation is answered.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.board import Board, Verdict
from service.generations import Generations
from service.seat import Seat
from service.settings import Settings
from service.supervision.connection import Connection
from service.supervision.reload import Coordinator
from service.supervision.watch import watch
from service.telemetry import identity
from service.telemetry.record import Record
from service.telemetry.scrape import Scrape
from service.web import problems
from service.web.answers import answer
from service.web.middleware import Accounting, LastResort


def create_app(settings: Settings, seat: Seat) -> Starlette:
    """/livez, /readyz, /startupz, each with its reasons, and /metrics."""
    board = seat.board
    probes: dict[str, tuple[str, Callable[[], Verdict]]] = {
        "/livez": ("live", lambda: board.live(settings.lifecycle.heartbeat_seconds)),
        "/readyz": ("ready", board.ready),
        "/startupz": ("started", board.started),
    }
    scrape = Scrape(board, Generations(seat), seat.directory)

    async def probe(request: Request) -> Response:
        word, verdict = probes[request.url.path]
        return _report(board, word, verdict())

    async def metrics(request: Request) -> Response:
        body, content_type = await asyncio.to_thread(scrape.render, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    app = Starlette(
        routes=[*(Route(path, probe) for path in probes), Route("/metrics", metrics)],
        # Probes come every second: they are answered, neither logged nor counted.
        middleware=[Middleware(Accounting, close=_forget), Middleware(LastResort)],
        exception_handlers={HTTPException: problems.on_http_exception},
    )
    app.router.redirect_slashes = False
    return app


def run(settings: Settings, seat: Seat, listener: socket.socket) -> None:
    """Serve until the master is gone."""
    # A terminal sends Ctrl-C and its own end to the whole group; the master decides when ops ends.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    identity.become("ops")
    config = uvicorn.Config(
        create_app(settings, seat), loop="uvloop", http=Connection, ws="none", lifespan="off",
        log_config=None, access_log=False, server_header=False,
    )  # fmt: skip
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_until_one_ends(_Server(config, os.getppid()).serve(sockets=[listener]), *_reloads(settings, seat)))


def _reloads(settings: Settings, seat: Seat) -> Iterator[Coroutine[Any, Any, None]]:
    yield Coordinator(settings, seat).run()
    if settings.repository.watch_seconds:
        # In a successor of ours nobody knows what has changed meanwhile.
        is_new = not seat.board.service.generation
        places = [place for place in (settings.repository.path, settings.access.keys) if place]
        yield watch(places, settings.repository.watch_seconds, seat.wishes, is_new)


async def _until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """The master then starts all of them anew."""
    tasks = [asyncio.create_task(work) for work in works]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.wait(tasks)
    for task in done:
        task.result()


class _Server(uvicorn.Server):
    """Leaves when its parent is not the master any more."""

    def __init__(self, config: uvicorn.Config, master: int) -> None:
        super().__init__(config)
        self._master = master

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own would undo what `run` has set."""
        yield

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or os.getppid() != self._master


def _report(board: Board, word: str, verdict: Verdict) -> Response:
    document: dict[str, Any] = {
        word: verdict.yes,
        "generation": board.service.generation,
        "workers": [asdict(worker) for worker in board.workers()],
        "reasons": verdict.reasons,
    }
    return answer(200 if verdict.yes else 503, document)


def _forget(record: Record) -> None:
    pass
