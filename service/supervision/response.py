"""The usual response in one piece: head and body in one write, so in one packet and one system call.

Uvicorn writes the head first, looks at each header twice, and writes the body behind it. What is unusual in any way (a
stream, HEAD, the last answer of a connection, a slow reader, a length that is wrong) still goes its way.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.caller import Caller
from service.errors import Draining, OnnicornError

# How much is given to TLS at a time, in bytes.
PIECE: Final = 64 << 10
_UNUSUAL: Final = frozenset({b"connection", b"transfer-encoding"})


class Cycle(RequestResponseCycle):
    """One request and its response. By ASGI nothing need be sent before the first event of the body."""

    caller: Caller
    # The client may still send when the last answer has ended: the connection must end so that it can be read.
    lingers = False
    # So that it can be told how much of it was read: what has been written, or is about to be.
    bytes_sent = 0
    # Of the one that is being sent in pieces: what the connection has not been given yet.
    bytes_left = 0
    # The app waits for more of the body: until it does, a client may wait for what the app sends.
    awaits_more = False
    _start: Any = None
    _is_until_close = False
    _failure: OnnicornError | None = None

    @classmethod
    def adopt(cls, cycle: RequestResponseCycle, caller: Caller) -> None:
        """Uvicorn makes the object itself, in the middle of a long method.

        To give it a `send` of another object would tie the two together: garbage that only the collector finds, at
        the price of a stall of 10 ms every few thousand requests.
        """
        cycle.__class__ = cls
        cycle.caller = caller  # type: ignore[attr-defined]

    def lose(self) -> None:
        """The client has left, and whoever works on its answer may stop."""
        if not self.response_complete:
            self.disconnected = True
            self.message_event.set()
            self.caller.leave()

    def fail(self, error: OnnicornError) -> None:
        """The body will never be whole: the app hears why when it asks for more of it, and answers with that.

        An error that was raised holds all that its traceback has seen, this object too if it were kept here: garbage
        that only the collector finds.
        """
        self._failure = error.anew()
        self.keep_alive = False
        self.message_event.set()

    def dismiss(self, *, at_last: bool) -> None:
        """The service ends. A stream that still comes ends in order, and need not wait for more of its body.

        What is admitted is finished; but `at_last` a stream that has come wholly hears of it too, and whoever still
        waits for a body, of which nothing has been run then.
        """
        if at_last or (self.more_body and self.caller.is_stream):
            self.caller.is_dismissed = True
            if self.more_body:
                self.fail(Draining())

    async def receive(self) -> Any:
        if self._failure and not self.disconnected:
            raise self._failure.anew()
        self.awaits_more = True
        try:
            message: Any = await super().receive()
        finally:
            self.awaits_more = False
        if self._failure and not self.disconnected and message.get("more_body") and not message["body"]:
            raise self._failure.anew()  # it came while we waited, and nothing else did
        return message

    @property
    def is_two_way(self) -> bool:
        """A stream, whose answer has begun before its body has ended."""
        return self.response_started and self.more_body and not self.response_complete

    @property
    def is_owed_more(self) -> bool:
        """The client has to send more of the body, and has no reason to wait."""
        return self.more_body and not self.waiting_for_100_continue and (self.awaits_more or not self.is_two_way)

    async def send(self, message: Any) -> None:
        if self.transport.is_closing():  # reset, though nobody has told us yet: to write would fail
            self.lose()
            self.response_started = self.response_complete = True
            return
        if message["type"] == "http.response.start" and not self.response_started:
            self._start = message  # in place of an earlier one: an app that fails behind it gets Uvicorn's 500
            return
        start, self._start = self._start, None
        if start:
            if self.more_body:
                self.keep_alive = False  # a client that is told so stops sending what nobody reads
            if self._is_written_at_once(start, message):
                return
            if self.scope["http_version"] == "1.0" and b"content-length" not in dict(start["headers"]):
                self.chunked_encoding, self._is_until_close = False, True  # chunks are unknown there (RFC 9112, 7)
            await super().send(start)
        await self._send_piece(message)

    async def _send_piece(self, message: Any) -> None:
        body = message.get("body", b"")
        if self.scope["method"] != "HEAD":
            self.bytes_sent += len(body)
        if len(body) > PIECE and self.scope["scheme"] == "https":
            message = await self._send_all_but_last(message, body)
        if not self.keep_alive and not message.get("more_body"):
            # Uvicorn would close at once, and what is still unread would reset the connection, answer and all.
            self.keep_alive = self.lingers = True
        await self._pass_on(message)
        self.bytes_left = 0

    async def _pass_on(self, message: Any) -> None:
        if self._is_until_close:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)

    async def _send_all_but_last(self, message: Any, body: bytes) -> Any:
        """Behind TLS all that is written at once is encrypted at once, and nobody can tell how much is still with us.

        Returns what is left to be sent.
        """
        self.bytes_left = len(body)
        while self.bytes_left > PIECE:
            start = len(body) - self.bytes_left
            await self._pass_on({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
            self.bytes_left -= PIECE
        return {**message, "body": body[len(body) - self.bytes_left :]}

    def _is_written_at_once(self, start: Any, message: Any) -> bool:
        if message.get("more_body") or not self.keep_alive or self.disconnected or self.flow.write_paused:
            return False
        body = message.get("body", b"")
        if len(body) > PIECE and self.scope["scheme"] == "https":
            return False
        head = _head(self.default_headers, start)
        if head is None or self.scope["method"] == "HEAD" or b"\r\ncontent-length: %d\r\n" % len(body) not in head:
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.bytes_sent = len(head) + len(body)
        self.transport.write(head + body)
        self.message_event.set()
        self.on_response()
        return True


def _head(default: list[tuple[bytes, bytes]], start: Any) -> bytes | None:
    """None where a header says how the connection goes on, or is more than one line."""
    content = [STATUS_LINE[start["status"]]]
    headers = [*default, *start["headers"]]
    for name, value in headers:
        if name in _UNUSUAL:
            return None
        content += (name, b": ", value, b"\r\n")
    content.append(b"\r\n")
    head = b"".join(content)
    lines = len(headers) + 2
    return head if head.count(b"\n") == head.count(b"\r") == lines else None
