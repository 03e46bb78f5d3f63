"""A kept connection of the load generator: one request at a time, as HTTP/1.1.

It outlives the socket. One that a server or a balancer closes is opened again, and a request that has its turn in the
meantime waits for that, which is in its latency. A request that was sent is never sent twice: if the connection goes
before the answer comes, the request is `LOST`.
"""

import asyncio
from typing import Any, Final, Protocol

from httptools import HttpParserError, HttpResponseParser

LOST: Final = 0
"""In place of a status."""
# Of one connection, one after the other: whoever does that will not answer.
_MOST_CLOSED_UNANSWERED: Final = 3


class Flow(Protocol):
    """What a connection tells of. `away` are the seconds so far in which the generator was not there to see."""

    away: float

    def answered(self, connection: "Connection", status: int) -> None:
        """The connection is free again."""

    def reopen(self, connection: "Connection") -> None: ...

    def fail(self, reason: str) -> None: ...


class Connection(asyncio.Protocol):
    """`due` is when its request should have been sent, `sent` when it was, `away` what the flow's was then."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._transport: Any = None
        self._parser = HttpResponseParser(self)
        self._waits = b""
        self._is_asked = False
        self._closed_unanswered = 0
        self.due = self.sent = self.away = 0.0

    def send(self, request: bytes, due: float, now: float) -> None:
        self.due, self.sent, self.away = due, now, self._flow.away
        if self._transport is None:
            self._waits = request
        else:
            self._write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = HttpResponseParser(self)
        if self._waits:
            request, self._waits = self._waits, b""
            self._write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._flow.fail(f"what it answers is not HTTP/1.1: {error}")

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if not self._is_asked:
            return
        self._is_asked, self._closed_unanswered = False, 0
        if not self._parser.should_keep_alive():
            self._transport.close()
            self._transport = None
        self._flow.answered(self, self._parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._closed_unanswered += 1
        if self._is_asked:
            self._is_asked = False
            self._flow.answered(self, LOST)
        if self._closed_unanswered == _MOST_CLOSED_UNANSWERED:
            self._flow.fail("it closes connections without an answer")
        else:
            self._flow.reopen(self)

    def _write(self, request: bytes) -> None:
        self._is_asked = True
        self._transport.write(request)
