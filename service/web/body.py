"""A request's body: read under a limit, decompressed under the same limit, its declared form checked first."""

import asyncio
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Receive

from service.caller import ClientLeft
from service.errors import MalformedRequest, RequestTooLarge, UnsupportedMedia, quoted
from service.scheduling.admission import Budget, Hold
from service.telemetry.record import Record

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
# zlib's name for gzip's format; how much it is given at a time; and members, of which each costs more than its bytes.
_GZIP: Final = 31
_PIECE: Final = 64 << 10
_MOST_MEMBERS: Final = 4096
# Of a length that is worth reading as a number.
_MAX_DIGITS: Final = 18
ACCEPT_ENCODING: Final = "gzip, deflate"


async def read(headers: Headers, receive: Receive, record: Record, limit: int, hold: Hold | None = None) -> bytes:
    """The whole body, decoded. Raises UnsupportedMedia, RequestTooLarge, MalformedRequest, Overloaded, ClientLeft.

    `limit` is in bytes, and holds before and after decompression. The record learns how many bytes came, and `hold`
    has them all. It is asked first whether there is room for as many as were announced, but they are not kept free:
    otherwise whoever announces much and sends nothing could shut everybody else out.
    """
    hold = hold or Budget(limit).hold()
    _check_media_type(headers.get(b"content-type", b""))
    codings = _codings(headers[b"content-encoding"]) if b"content-encoding" in headers else []
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit():
        if len(declared) > _MAX_DIGITS or int(declared) > limit:
            raise _too_large(limit)
        hold.check(int(declared))
    body = await _receive(receive, limit, hold)
    record.bytes_in = len(body)
    for coding in reversed(codings):
        # Off the event loop, unless it is so short that even a bomb is soon over; zlib lets other threads run.
        if len(body) > _INFLATE_ON_LOOP:
            body = await asyncio.to_thread(_decompress, coding, body, limit)
        else:
            body = _decompress(coding, body, limit)
        hold.resize(len(body))
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


def _check_media_type(value: bytes) -> None:
    if value in _USUAL:
        return
    media_type = value.decode("latin-1").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise UnsupportedMedia(
            f"Content-Type: expected application/json or application/octet-stream, got {quoted(media_type)}"
        )


def _codings(value: bytes) -> list[str]:
    """In the order in which they were applied (RFC 9110, 8.4)."""
    codings = [coding.strip().lower() for coding in value.decode("latin-1").split(",", _MOST_CODINGS)]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if unknown := [coding for coding in codings if coding not in _CODINGS]:
        raise UnsupportedMedia(f"Content-Encoding: expected gzip or deflate, got {quoted(unknown[0])}", ACCEPT_ENCODING)
    if len(codings) > 2:
        raise UnsupportedMedia(f"Content-Encoding: expected at most two codings, got {len(codings)}", ACCEPT_ENCODING)
    return codings


def _decompress(coding: str, body: bytes, limit: int) -> bytes:
    """Never inflates further than one byte past the limit."""
    try:
        inflated = _inflate(body, limit + 1) if coding == "deflate" else _gunzip(body, limit + 1)
    except EOFError:
        raise MalformedRequest(f"Content-Encoding: the {coding} body ends too early") from None
    except zlib.error:
        raise MalformedRequest(f"Content-Encoding: the body is not valid {coding}") from None
    if len(inflated) > limit:
        raise _too_large(limit)
    return inflated


def _gunzip(body: bytes, most: int) -> bytes:
    """gzip may have several members, and zeros behind the last (RFC 1952, 2.2; as gzip itself reads it).

    A piece at a time, because all that follows a member's end is copied.
    """
    parts: list[bytes] = []
    position = 0
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            if position == len(body):
                raise EOFError
            piece = body[position : position + _PIECE]
            parts.append(member.decompress(piece, most))
            position += len(piece) - len(member.unused_data)
            most -= len(parts[-1])
            if not most:
                return b"".join(parts)
        if body[position : position + 1] in (b"", b"\0") and body.count(0, position) == len(body) - position:
            return b"".join(parts)
    raise zlib.error(f"more than {_MOST_MEMBERS} members")


def _inflate(body: bytes, most: int) -> bytes:
    """By the standard "deflate" is zlib's format (RFC 9110, 8.4.1.2)."""
    inflate = zlib.decompressobj()
    inflated = inflate.decompress(body, most)
    if len(inflated) < most and not inflate.eof:
        raise EOFError
    if inflate.unused_data:
        raise zlib.error("bytes are left over")
    return inflated


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"the body is larger than {limit} bytes, the most that is read; send fewer rows at a time")
