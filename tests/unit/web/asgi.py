"""A request as an ASGI app sees it, without a server, and what the app sends."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message

from service.telemetry.record import Record
from service.web.records import attach


def raw_headers(**headers: str) -> dict[bytes, bytes]:
    """As the body's reader takes them; an underscore stands for a hyphen."""
    return {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}


def request(*body: bytes | None, **headers: str) -> Request:
    """A request whose body comes in these pieces; None stands for a client that has left."""
    messages: list[Message] = [
        {"type": "http.disconnect"}
        if piece is None
        else {"type": "http.request", "body": piece, "more_body": index < len(body) - 1}
        for index, piece in enumerate(body)
    ]
    raw = list(raw_headers(**headers).items())
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": raw, "query_string": b""}
    attach(scope, Record("7", None, "POST"))

    async def receive() -> Message:
        return messages.pop(0)

    return Request(scope, receive)


def send_to(app: ASGIApp, scope: dict[str, Any], messages: Sequence[Message] = ()) -> list[Message]:
    """What the app sends for this scope."""
    left = list(messages)
    sent: list[Message] = []

    async def receive() -> Message:
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent
