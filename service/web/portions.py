"""The lines of a body, taken a few at a time while it comes."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from starlette.types import Receive

from service.caller import Caller, ClientLeft
from service.errors import Draining, OnnicornError, UnsupportedMedia
from service.protocol.events import Line, Lines
from service.scheduling.admission import Hold
from service.telemetry.record import Record
from service.web import body
from service.web.inflate import Inflater

# As much text is looked at together; a longer line is a portion by itself.
TOGETHER: Final = 64 << 10
# Decompressing more than this would hold the event loop for milliseconds.
_INFLATE_ON_LOOP: Final = 16 << 10
_MEDIA_TYPES: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/x-jsonlines", "application/jsonl"}
)
MEDIA_TYPE: Final = b"application/x-ndjson"


def are_lines(headers: Mapping[bytes, bytes]) -> bool:
    """Does a body with these headers come as lines of JSON?"""
    return body.media_type(headers) in _MEDIA_TYPES


class Decoder(Protocol):
    """What makes the body of what comes."""

    def feed(self, chunk: bytes) -> Iterable[bytes]: ...
    def end(self) -> None: ...


class Portions:
    """Each has so many lines at most as `most` says then; one is complete when nothing more has come: nobody waits.

    `hold` has the line that is being read: what has been taken is its taker's.
    """

    def __init__(
        self,
        receive: Receive,
        headers: Mapping[bytes, bytes],
        record: Record,
        lines: Lines,
        most: Callable[[], int],
        hold: Hold,
        caller: Caller,
    ) -> None:
        """Raises UnsupportedMedia."""
        self._receive = receive
        self._decoder = _decoder(headers)
        self._record = record
        self._lines = lines
        self._most = most
        self._hold = hold
        self._caller = caller
        self._pieces: Iterator[bytes] = iter(())
        self._ready: Iterator[Line] = iter(())
        self._has_ended = self._is_closed = False
        self._takes_long = False
        self._left: int | None = None
        self._failure: OnnicornError | None = None

    @property
    def untaken(self) -> int:
        """Where taking has ended: the number of the first line that was not taken."""
        return self._left or self._lines.begun

    async def listen(self) -> None:
        """Wait for what comes next. Raises ClientLeft, and whatever the server has to say of the rest of the body."""
        message: Any = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("body")
        chunk = message.get("body", b"")
        self._takes_long = len(chunk) > _INFLATE_ON_LOOP and not isinstance(self._decoder, _Plain)
        self._record.bytes_in += len(chunk)
        self._has_ended = not message.get("more_body", False)
        self._pieces = iter(self._decoder.feed(chunk))

    async def take(self) -> list[Line] | None:
        """The next portion, or None behind the last. Raises MalformedRequest, Overloaded and what `listen` raises.

        Nothing is lost by that: it is raised only when all lines before have been taken. Not so with Draining: no other
        line is taken then, be it here already or not.
        """
        while True:
            if self._caller.is_dismissed:
                self._stop()
            if portion := self._gather():
                return portion
            if self._failure:
                raise self._failure.anew()
            if (piece := await self._next_piece()) is not None:
                self._ready = self._lines.feed(piece)
                await asyncio.sleep(0)  # what is compressed may become a thousand times as much
            elif not self._has_ended:
                self._keep()
                await self.listen()
            elif not self._is_closed:
                self._is_closed = True
                self._decoder.end()
                self._ready = self._lines.end()
            else:
                return None

    async def _next_piece(self) -> bytes | None:
        """None where nothing is left of what has come."""
        if self._takes_long:
            return await asyncio.to_thread(next, self._pieces, None)
        return next(self._pieces, None)

    def _stop(self) -> None:
        """Raises Draining, unless all that is here has been taken."""
        if line := next(self._ready, None):
            self._left = line.number
        if line or not self._has_ended:
            raise Draining

    def _gather(self) -> list[Line]:
        portion: list[Line] = []
        size = 0
        most = self._most()
        try:
            for line in self._ready:
                portion.append(line)
                size += len(line.text or b"")
                if len(portion) >= most or size >= TOGETHER:
                    break
        except OnnicornError as error:
            self._failure = error.anew()  # those that came before it go first
        return portion

    def _keep(self) -> None:
        """The beginning of a long line is held until it is whole. Raises Overloaded where there is no room for it."""
        held = self._lines.held
        self._hold.resize(held if held > TOGETHER else 0)


class _Plain:
    """Nothing is to be done."""

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        return (chunk,)

    def end(self) -> None:
        """It may end anywhere."""


def _decoder(headers: Mapping[bytes, bytes]) -> Decoder:
    codings = body.codings(headers.get(b"content-encoding", b""))
    if len(codings) > 1:
        raise UnsupportedMedia(
            f"Content-Encoding: expected one coding of lines, got {len(codings)}", body.ACCEPT_ENCODING
        )
    return Inflater(codings[0]) if codings else _Plain()
