"""POST /v2/repository/index: what the repository holds, what is served of it, and why the rest is not."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.errors import MalformedRequest
from service.knobs import Limits
from service.outcomes import Outcome
from service.protocol.document import parse
from service.seat import Seat
from service.web import body
from service.web.answers import answer
from service.web.headers import fields
from service.web.records import record_of

# The body is `{"ready": true}` at its longest.
_MAX_BODY: Final = 64 << 10
_LIMITS: Final = Limits()
_REQUEST: Final = {"type": "object", "properties": {"ready": {"type": "boolean"}}}


class IndexEntry(BaseModel):
    """`state` is READY or UNAVAILABLE; `version` is left out where a whole model is unavailable."""

    name: str
    version: str | None = None
    state: str
    reason: str


def router(dataplane: Dataplane, seat: Seat) -> APIRouter:
    routes = APIRouter(prefix="/v2/repository", tags=["repository"])

    @routes.post(
        "/index",
        summary="The models, and the reasons of those that are unavailable",
        response_model=list[IndexEntry],
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": _REQUEST}}}},
    )
    async def index(request: Request) -> Response:
        content = await body.read(
            fields(request.scope["headers"]), request.receive, record_of(request.scope), _MAX_BODY
        )
        last = await asyncio.to_thread(seat.outcomes.last) if seat.directory else None
        entries = index_of(dataplane.catalogue, last)
        if _only_ready(content):
            entries = [entry for entry in entries if entry["state"] == "READY"]
        return answer(200, entries)

    return routes


def _only_ready(content: bytes) -> bool:
    ready = parse(content, _LIMITS).get("ready", False) if content.strip() else False
    if type(ready) is not bool:
        raise MalformedRequest("Invalid value for 'ready': expected a boolean")
    return ready


def index_of(catalogue: Catalogue, last: Outcome | None) -> list[dict[str, Any]]:
    """What is served, and what is not: refused at the start, taken out, or refused by the `last` reload."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for model in catalogue.models:
        _add(entries, model.name, model.version, "READY", "")
    for refusal in catalogue.refusals:
        _add(entries, refusal.name, refusal.version, "UNAVAILABLE", refusal.reason)
    for name in catalogue.unloaded:
        _add(entries, name, None, "UNAVAILABLE", "unloaded")
    for reason in last.standing if last else ():
        served = [model for model in catalogue.models if reason.name in ("", model.name)]
        if reason.version or not served:
            _add(entries, reason.name, reason.version, "UNAVAILABLE", reason.text)
        else:  # it is about a whole model, or nobody knows about which
            for model in served:
                _add(entries, model.name, model.version, "READY", reason.text)
    return [entries[key] for key in sorted(entries, key=lambda key: (key[0], int(key[1] or 0)))]


def _add(
    entries: dict[tuple[str, str], dict[str, Any]], name: str, version: int | None, state: str, reason: str
) -> None:
    """A version that is served stays so, whatever has been refused since under its number."""
    number = str(version or "")
    entry = entries.setdefault((name, number), {"name": name, "version": number, "state": state, "reason": ""})
    if not number:
        entry.pop("version", None)
    if reason:
        entry["reason"] = f"the last reload was refused: {reason}" if entry["state"] == "READY" else reason
