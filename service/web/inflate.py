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
# Of a body that has no end yet: the same, and so little goes in at once that members of a few bytes cost no more.
_STEP_OUT: Final = 64 << 10
_STEP_IN: Final = 4 << 10


def pieces(coding: str, body: bytes) -> Iterator[bytes]:
    """Of at most a mebibyte each, none of them empty. `coding` is deflate or gzip. Raises MalformedRequest."""
    try:
        yield from _zlib(body) if coding == "deflate" else _gzip(body)
    except EOFError:
        raise _ends_too_early(coding) from None
    except zlib.error:
        raise _is_not_valid(coding) from None


class Inflater:
    """A body that is decompressed while it comes. `coding` is deflate or gzip.

    How much it becomes in all is not bounded: nothing of it is kept here.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream = self._begin()
        self._is_whole = False  # nothing is missing behind what has come

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What that becomes, in pieces of at most 64 KiB. Raises MalformedRequest.

        Some are empty: each 4 KiB bring at least one, so that others have their turn where much becomes nothing.
        """
        try:
            for start in range(0, len(chunk), _STEP_IN):
                yield from self._inflate(chunk[start : start + _STEP_IN])
                yield b""
        except zlib.error:
            raise _is_not_valid(self._coding) from None

    def end(self) -> None:
        """Nothing more will come. Raises MalformedRequest where something should."""
        if not self._is_whole:
            raise _ends_too_early(self._coding)

    def _inflate(self, part: bytes) -> Iterator[bytes]:
        while part:
            if self._is_whole and not (part := self._next_member(part)):
                return
            is_more = True
            while is_more:
                piece = self._stream.decompress(part, _STEP_OUT)
                part = self._stream.unconsumed_tail
                is_more = not self._stream.eof and (len(piece) == _STEP_OUT or bool(part))
                if piece:
                    yield piece
            self._is_whole = self._stream.eof
            part = self._stream.unused_data

    def _next_member(self, part: bytes) -> bytes:
        """Behind the end of a stream only another member of gzip may follow, or zeros."""
        if self._coding == "deflate":
            raise zlib.error("bytes are left over")
        part = part.lstrip(b"\0")
        if part:
            self._stream = self._begin()
        return part

    def _begin(self) -> "zlib._Decompress":
        return zlib.decompressobj() if self._coding == "deflate" else zlib.decompressobj(_GZIP)


def _ends_too_early(coding: str) -> MalformedRequest:
    return MalformedRequest(f"Content-Encoding: the {coding} body ends too early")


def _is_not_valid(coding: str) -> MalformedRequest:
    return MalformedRequest(f"Content-Encoding: the body is not valid {coding}")


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
