"""The paths that run a model: each goes to the door that is its own, everything else on to the framework.

Nearly every request comes here, so the way is plain ASGI: what a framework does for a route costs more than a small
model does. The doors stand in front of FastAPI's router and take the paths that are theirs.
"""

from collections.abc import Mapping
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import MethodNotAllowed
from service.quoting import shorten
from service.web.passage import Answer
from service.web.records import record_of
from service.web.routes import Asked, inference


class Door(Protocol):
    """One form in which models are asked. It returns its whole answer, or sends it piece by piece and returns None."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Asked) -> Answer | None: ...


class Doors:
    """By the last word of their paths."""

    def __init__(self, app: ASGIApp, doors: Mapping[str, Door]) -> None:
        self.app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = inference(scope["path"]) if scope["type"] == "http" else None
        if asked is None:
            await self.app(scope, receive, send)
            return
        record_of(scope).route = asked.route
        if scope["method"] != "POST":
            raise MethodNotAllowed(
                f"{shorten(scope['path'])} does not know {record_of(scope).method}; it knows POST", "POST"
            )
        whole = await self._doors[asked.verb](scope, receive, send, asked)
        if whole is None:
            return
        headers, answer = whole
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
