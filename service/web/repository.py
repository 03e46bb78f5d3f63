"""POST /v2/repository/index: what the repository holds, what is served of it, and why the rest is not."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.errors import MalformedRequest
from service.protocol.v2 import parse
from service.web import body
from service.web.answers import answer
from service.web.records import record_of

# The body is `{"ready": true}` at its longest.
_MAX_BODY: Final = 64 << 10


class IndexEntry(BaseModel):
    """`state` is READY or UNAVAILABLE; `version` is left out where a whole model is unavailable."""

    name: str
    version: str | None = None
    state: str
    reason: str


def router(dataplane: Dataplane) -> APIRouter:
    routes = APIRouter(prefix="/v2/repository", tags=["repository"])

    @routes.post(
        "/index", summary="The models, and the reasons of those that are unavailable", response_model=list[IndexEntry]
    )
    async def index(request: Request) -> Response:
        content = await body.read(dict(request.scope["headers"]), request.receive, record_of(request.scope), _MAX_BODY)
        entries = _entries(dataplane.catalogue)
        if _only_ready(content):
            entries = [entry for entry in entries if entry["state"] == "READY"]
        return answer(200, entries)

    return routes


def _only_ready(content: bytes) -> bool:
    ready = parse(content).get("ready", False) if content.strip() else False
    if type(ready) is not bool:
        raise MalformedRequest("Invalid value for 'ready': expected a boolean")
    return ready


def _entries(catalogue: Catalogue) -> list[dict[str, Any]]:
    served = [
        {"name": model.name, "version": str(model.version), "state": "READY", "reason": ""}
        for model in catalogue.models
    ]
    refused = [
        {"name": refusal.name, "state": "UNAVAILABLE", "reason": refusal.reason}
        | ({"version": str(refusal.version)} if refusal.version else {})
        for refusal in catalogue.refusals
    ]
    return sorted(served + refused, key=lambda entry: (entry["name"], int(entry.get("version", 0))))
