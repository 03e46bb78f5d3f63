"""A compressed body, a piece at a time: what it would become is known only once it has, and bombs live on that."""

import zlib
from collections.abc import Generator, Iterator
from typing import Final

from service.errors import MalformedRequest

# The most that comes out at once, and that goes in.
_OUT: Final = 1 << 20
_IN: Final = 64 << 10
# zlib's name for gzip's format; and members, of which each costs more than its bytes.
_GZIP: Final = 31
_MOST_MEMBERS: Final = 4096


def pieces(coding: str, body: bytes) -> Iterator[bytes]:
    """Of at most a mebibyte each, none of them empty. `coding` is deflate or gzip. Raises MalformedRequest."""
    try:
        yield from _zlib(body) if coding == "deflate" else _gzip(body)
    except EOFError:
        raise MalformedRequest(f"Content-Encoding: the {coding} body ends too early") from None
    except zlib.error:
        raise MalformedRequest(f"Content-Encoding: the body is not valid {coding}") from None


def _gzip(body: bytes) -> Iterator[bytes]:
    """It may have several members, and zeros behind the last (RFC 1952, 2.2; as gzip itself reads it)."""
    position = 0
    for _ in range(_MOST_MEMBERS):
        position = yield from _stream(zlib.decompressobj(_GZIP), body, position)
        if body[position : position + 1] in (b"", b"\0") and body.count(0, position) == len(body) - position:
            return
    raise zlib.error(f"more than {_MOST_MEMBERS} members")


def _zlib(body: bytes) -> Iterator[bytes]:
    """By the standard "deflate" is zlib's format (RFC 9110, 8.4.1.2)."""
    if (yield from _stream(zlib.decompressobj(), body, 0)) < len(body):
        raise zlib.error("bytes are left over")


def _stream(stream: "zlib._Decompress", body: bytes, position: int) -> Generator[bytes, None, int]:
    """One compressed stream, which begins here; returns where it ends. Raises EOFError.

    It is given a part of the body at a time, because all that follows its end is copied.
    """
    while not stream.eof:
        if position == len(body):
            raise EOFError
        part = body[position : position + _IN]
        position += len(part)
        is_more = True
        while is_more:
            piece = stream.decompress(part, _OUT)
            part = stream.unconsumed_tail
            is_more = not stream.eof and len(piece) == _OUT
            if piece:
                yield piece
    return position - len(stream.unused_data)
