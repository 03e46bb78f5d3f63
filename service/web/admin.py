"""POST /v2/repository/models/{model}/load and /unload: they ask for a reload, and answer when it has ended."""

import asyncio
from time import monotonic
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from service.dataplane import Dataplane
from service.errors import (
    Draining,
    Forbidden,
    MalformedRequest,
    ModelNotFound,
    ModelNotReady,
    ReloadInProgress,
    ReloadRefused,
)
from service.knobs import Limits
from service.outcomes import Outcome
from service.protocol.document import parse
from service.seat import Seat
from service.web import body
from service.web.answers import answer
from service.web.headers import fields
from service.web.records import record_of
from service.wishes import Wish

_MAX_BODY: Final = 64 << 10
_LIMITS: Final = Limits()
_LOOK_SECONDS: Final = 0.01
# Triton takes other parameters; a model's own declaration and files are what is served here.
_UNLOAD: Final = frozenset({"unload_dependents"})


def router(dataplane: Dataplane, seat: Seat, patience: float) -> APIRouter:
    """`patience` is how many seconds a caller waits: for a reload that is under way, and then for its own."""
    routes = APIRouter(prefix="/v2/repository/models", tags=["repository"])

    @routes.post("/{model_name}/load", summary="Read one model again and serve what its folder holds now")
    async def load(model_name: str, request: Request) -> Response:
        _refuse_parameters(await _parameters(request), frozenset())
        outcome = await _fulfilled(seat, Wish(kind="load", model=model_name), patience)
        if any(reason.is_missing for reason in outcome.reasons):
            raise ModelNotFound(model_name)
        return _report(seat, model_name, outcome)

    @routes.post("/{model_name}/unload", summary="Serve all versions of one model no longer")
    async def unload(model_name: str, request: Request) -> Response:
        _refuse_parameters(await _parameters(request), _UNLOAD)
        if model_name not in dataplane.catalogue.names:
            raise ModelNotFound(model_name)
        return _report(seat, model_name, await _fulfilled(seat, Wish(kind="unload", model=model_name), patience))

    return routes


def closed() -> APIRouter:
    """In place of the other: the same paths, where the settings allow nobody to load models."""
    routes = APIRouter(prefix="/v2/repository/models", include_in_schema=False)

    @routes.post("/{model_name}/load")
    @routes.post("/{model_name}/unload")
    async def refuse(model_name: str) -> Response:
        raise Forbidden("models are loaded and unloaded by callers only with ONNICORN_HTTP__ADMIN=true")

    return routes


async def _fulfilled(seat: Seat, wish: Wish, patience: float) -> Outcome:
    """Raises ReloadInProgress."""
    until = monotonic() + patience
    position = await asyncio.to_thread(seat.wishes.ask, wish)
    while seat.board.service.reloads < position:
        if monotonic() > until:
            raise ReloadInProgress
        await asyncio.sleep(_LOOK_SECONDS)
    outcome = seat.outcomes.of(position)
    if outcome is None:
        raise ReloadInProgress  # so many reloads have followed that it is forgotten
    return outcome


def _report(seat: Seat, model: str, outcome: Outcome) -> Response:
    """What was refused will be refused again; what was called off need not be."""
    if outcome.result == "refused":
        raise ReloadRefused(f"no model has changed: {outcome.reason}")
    if outcome.result == "aborted":
        raise (
            Draining
            if seat.board.service.terminating
            else ModelNotReady(model, "; ".join(reason.text for reason in outcome.reasons))
        )
    return answer(200, {})


async def _parameters(request: Request) -> dict[str, Any]:
    content = await body.read(fields(request.scope["headers"]), request.receive, record_of(request.scope), _MAX_BODY)
    parameters = parse(content, _LIMITS).get("parameters") if content.strip() else None
    if parameters is not None and type(parameters) is not dict:
        raise MalformedRequest("'parameters': expected an object")
    return parameters or {}


def _refuse_parameters(parameters: dict[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(parameters.keys() - known):
        raise MalformedRequest(
            f"'parameters.{unknown[0]}' is not supported: what is served is what the repository holds"
        )
