"""A request's body: read under a limit, decompressed under the same limit, its declared form checked first."""

import asyncio
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from starlette.types import Receive

from service.caller import ClientLeft
from service.errors import MalformedRequest, RequestTooLarge, UnsupportedMedia
from service.quoting import quoted
from service.scheduling.admission import Budget, Hold
from service.telemetry.record import Record
from service.web import inflate

Headers = Mapping[bytes, bytes]

# The form type is what `curl -d '{...}'` sends.
_MEDIA_TYPES: Final = frozenset(
    {"", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"}
)
# The same as most clients write them, for a look that costs nothing.
_USUAL: Final = frozenset({b"", b"application/json", b"application/octet-stream"})
_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
# "identity" may stand among them; what follows is taken for one with a strange name.
_MOST_CODINGS: Final = 16
_INFLATE_ON_LOOP: Final = 1024
# Of a length that is worth reading as a number.
_MAX_DIGITS: Final = 18
ACCEPT_ENCODING: Final = "gzip, deflate"


async def read(
    headers: Headers,
    receive: Receive,
    record: Record,
    limit: int,
    hold: Hold | None = None,
    media_types: Collection[str] = (),
) -> bytes:
    """The whole body, decoded. Raises UnsupportedMedia, RequestTooLarge, MalformedRequest, Overloaded, ClientLeft.

    `limit` is in bytes, and holds before and after decompression. The record learns how many bytes came, and `hold`
    has them all. It is asked first whether there is room for as many as were announced, but they are not kept free:
    otherwise whoever announces much and sends nothing could shut everybody else out. `media_types` are those that may
    come besides the usual ones.
    """
    hold = hold or Budget(limit).hold()
    _check_media_type(headers, media_types)
    applied = codings(headers[b"content-encoding"]) if b"content-encoding" in headers else []
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit():
        if len(declared) > _MAX_DIGITS or int(declared) > limit:
            raise _too_large(limit)
        hold.check(int(declared))
    body = await _receive(receive, limit, hold)
    record.bytes_in = len(body)
    for coding in reversed(applied):
        body = await _inflated(coding, body, limit, hold)
    return body


def json_length(headers: Headers) -> int | None:
    """Inference-Header-Content-Length: the bytes of JSON in front of binary tensors. Raises MalformedRequest."""
    text = headers.get(b"inference-header-content-length")
    if text is None:
        return None
    if not re.fullmatch(rb"[0-9]{1,18}", text):
        got = text[:60].decode("latin-1")
        raise MalformedRequest(f"Inference-Header-Content-Length: expected a number of bytes from 0 up, got {got!r}")
    return int(text)


async def _receive(receive: Receive, limit: int, hold: Hold) -> bytes:
    """Most bodies come in one piece, which is then not copied."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("body")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        hold.resize(size)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _inflated(coding: str, body: bytes, limit: int, hold: Hold) -> bytes:
    """Off the event loop, unless it is so short that even a bomb is soon over; zlib lets other threads run."""
    rest = inflate.pieces(coding, body)
    parts: list[bytes] = []
    size = 0
    while piece := await asyncio.to_thread(next, rest, b"") if len(body) > _INFLATE_ON_LOOP else next(rest, b""):
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        hold.resize(max(len(body), size))
        parts.append(piece)
    hold.resize(size)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def media_type(headers: Headers) -> str:
    """Without its parameters, in lower case; "" where none is said."""
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()


def _check_media_type(headers: Headers, others: Collection[str]) -> None:
    if headers.get(b"content-type", b"") in _USUAL:
        return
    came = media_type(headers)
    if came not in _MEDIA_TYPES and came not in others:
        *some, last = ("application/json", "application/octet-stream", *others)
        raise UnsupportedMedia(f"Content-Type: expected {', '.join(some)} or {last}, got {quoted(came)}")


def codings(value: bytes) -> list[str]:
    """Those of a Content-Encoding, in the order in which they were applied (RFC 9110, 8.4). Raises UnsupportedMedia."""
    named = [coding.strip().lower() for coding in value.decode("latin-1").split(",", _MOST_CODINGS)]
    applied = [coding for coding in named if coding not in ("", "identity")]
    if unknown := [coding for coding in applied if coding not in _CODINGS]:
        raise UnsupportedMedia(f"Content-Encoding: expected gzip or deflate, got {quoted(unknown[0])}", ACCEPT_ENCODING)
    if len(applied) > 2:
        raise UnsupportedMedia(f"Content-Encoding: expected at most two codings, got {len(applied)}", ACCEPT_ENCODING)
    return applied


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"the body is larger than {limit} bytes, the most that is read; send fewer rows at a time")
