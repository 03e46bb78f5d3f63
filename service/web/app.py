"""`create_app(settings)`: the one place where everything meets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service import __version__
from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.engine.manifest import Manifest
from service.errors import OnnicornError, StartError
from service.generations import Generations
from service.loading import first_generation, load
from service.memory import Housekeeper
from service.rows import State
from service.seat import Seat
from service.settings import Settings
from service.staging import Staging
from service.telemetry import metrics, zeros
from service.telemetry.heartbeat import Heartbeat
from service.telemetry.logs import AlreadyLogged
from service.telemetry.record import Record
from service.telemetry.scrape import Scrape
from service.telemetry.sweeper import Sweeper
from service.telemetry.totals import Totals
from service.telemetry.versions import Versions
from service.watchdog import Watchdog
from service.web import admin, health, metadata, pages, problems, repository, statistics, v1
from service.web.access import Guard, Guests, may_infer
from service.web.announcement import announce
from service.web.answers import answer
from service.web.doors import Door, Doors
from service.web.embeddings import Embed
from service.web.gate import STATE, Gate
from service.web.infer import Infer
from service.web.infer_stream import InferStream
from service.web.middleware import Accounting, Behind, LastResort
from service.web.openapi import Document
from service.web.passage import Passage
from service.web.predict import Predict
from service.web.routes import EMBEDDINGS, EMBEDDINGS_ROUTE, INFER, INFER_STREAM, PREDICT, SINGLES, STREAMS

log = structlog.get_logger()


def create_app(settings: Settings, seat: Seat | None = None) -> FastAPI:
    """The ASGI app of one worker. Nothing is loaded before its lifespan starts.

    `seat` is where the process sits among the others; without one the app checks and loads the repository by itself.
    """
    seat = seat or Seat()
    if seat.body_bytes:
        admission = settings.admission.model_copy(update={"max_bytes": seat.body_bytes})
        settings = settings.model_copy(update={"admission": admission})
    dataplane = Dataplane(
        settings.batching,
        settings.admission,
        metrics.ModelObserver(),
        lambda: seat.board.service.generation,
        lambda catalogue: _on_switch(seat, guests, catalogue),
    )
    versions = Generations(seat) if seat.directory else lambda: _versions(dataplane.last_served)
    guests = Guests(lambda: dataplane.catalogue.generation)
    in_flight: set[Record] = set()
    gate = Gate(
        dataplane,
        settings.admission,
        settings.http.root_path,
        lambda headers: not settings.access.keys or may_infer(guests.known(), headers),
    )
    app = _App(
        lambda inner: _outside(inner, settings, dataplane, guests, in_flight),
        title="Onnicorn",
        version=__version__,
        description="ONNX models over HTTP: the Open Inference Protocol v2.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # It asks the environment at every request whether somebody listens; our own logs and metrics say more.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lambda app: _lifespan(settings, seat, dataplane, guests, in_flight, gate),
        exception_handlers={
            OnnicornError: problems.on_error,
            HTTPException: problems.on_http_exception,
            Exception: problems.on_any_other,
        },
    )
    if settings.http.pages:
        app.include_router(pages.router())
    app.include_router(health.health_router(seat.board))
    is_administered = settings.http.admin and seat.directory is not None
    app.include_router(statistics.router(dataplane, Totals(seat.directory)))
    app.include_router(
        metadata.router(dataplane, settings.batching, settings.admission, seat.board, is_administered=is_administered)
    )
    app.include_router(v1.router(dataplane))
    app.include_router(repository.router(dataplane, seat))
    seconds = 3 * settings.lifecycle.load_seconds
    app.include_router(admin.router(dataplane, seat, seconds) if is_administered else admin.closed())
    if settings.http.metrics:
        app.include_router(health.metrics_router(Scrape(seat.board, versions, seat.directory)))
    _add_openapi(app, dataplane, settings)
    return app


class _App(FastAPI):
    """FastAPI with our own layers outside all of its own: what they answer never enters it."""

    def __init__(self, outside: Callable[[ASGIApp], ASGIApp], **settings: Any) -> None:
        super().__init__(**settings)
        self._all = outside(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._all(scope, receive, send)


def _outside(
    inner: ASGIApp, settings: Settings, dataplane: Dataplane, guests: Guests, in_flight: set[Record]
) -> ASGIApp:
    """What surrounds the framework, from the inside out."""
    admission = settings.admission
    passage = Passage(dataplane, settings.http, settings.limits, admission)
    doors: dict[str, Door] = {
        INFER: Infer(passage),
        PREDICT: Predict(passage),
        INFER_STREAM: InferStream(passage),
        EMBEDDINGS: Embed(passage),
    }
    app: ASGIApp = Doors(inner, doors)
    if settings.access.keys:
        app = Guard(app, guests.known)
    app = LastResort(app, admission.overload_status)
    if settings.http.cors_origins:  # outside of the keys: a browser asks without one whether it may call
        app = CORSMiddleware(
            app,
            allow_origins=settings.http.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=("x-request-id", "inference-header-content-length", "retry-after", "server-timing"),
        )
    app = Accounting(app, in_flight=in_flight)
    return Behind(app, settings.http.root_path) if settings.http.root_path else app


@asynccontextmanager
async def _lifespan(
    settings: Settings, seat: Seat, dataplane: Dataplane, guests: Guests, in_flight: set[Record], gate: Gate
) -> AsyncIterator[dict[str, Any]]:
    """Load, warm up, verify; ready in between; stop. The server is given the gate."""
    row = seat.row
    statuses = problems.statuses_of_inference(settings.admission.overload_status)
    zeros.of_requests((*SINGLES, EMBEDDINGS_ROUTE), STREAMS, statuses)
    async with AsyncExitStack() as stack:
        try:
            manifest_of = await asyncio.to_thread(_manifests, settings, seat)
            staging = Staging(
                seat,
                dataplane,
                lambda generation, known: _load(settings, manifest_of(generation), known, guests),
                settings.lifecycle.load_seconds,
            )
            await stack.enter_async_context(staging)
        except StartError as error:
            log.critical(error.code, reason=str(error))
            raise AlreadyLogged from None
        stack.callback(gate.close)
        await stack.enter_async_context(Heartbeat(row))
        await stack.enter_async_context(Housekeeper())
        if seat.directory:
            await stack.enter_async_context(Sweeper(Generations(seat)))
        stack.enter_context(Watchdog(seat, settings.lifecycle, dataplane.runs, in_flight))
        row.move(State.READY)
        if seat.completes_start():
            announce(settings, dataplane.catalogue)
        yield {STATE: gate}
        row.move(State.STOPPED)
    dataplane.close()


def _manifests(settings: Settings, seat: Seat) -> Callable[[int], Manifest]:
    """What generations are made of: what the master has checked; without a master, what the repository holds."""
    if seat.directory:
        return lambda generation: Manifest.read(seat.manifest_of(generation))
    manifest = first_generation(settings, number=1)
    seat.board.service.commit(manifest.generation, len(manifest.entries))
    return lambda generation: manifest


def _load(settings: Settings, manifest: Manifest, known: Catalogue, guests: Guests) -> Catalogue:
    """In a thread."""
    guests.stage(manifest.generation, manifest.clients)
    return load(settings, manifest, known.models)


def _on_switch(seat: Seat, guests: Guests, catalogue: Catalogue) -> None:
    guests.forget_before(catalogue.generation)
    seat.row.serve(catalogue.generation)
    for model in catalogue.models:
        zeros.of_model(model.name, model.version)


def _versions(catalogue: Catalogue) -> Versions:
    """Where there is no master nothing is reloaded."""
    return Versions(
        served=tuple((model.name, model.version, model.digest) for model in catalogue.models),
        refused=frozenset((refusal.name, refusal.version) for refusal in catalogue.refusals),
    )


def _add_openapi(app: FastAPI, dataplane: Dataplane, settings: Settings) -> None:
    document = Document(
        app,
        settings.http.root_path,
        needs_key=bool(settings.access.keys),
        overload_status=settings.admission.overload_status,
    )

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return answer(200, await asyncio.to_thread(document.render, dataplane.catalogue))
