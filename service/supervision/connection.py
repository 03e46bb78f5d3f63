"""One HTTP connection: Uvicorn's protocol class, with our answer to what its parser refuses, and with an end."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from service.errors import MalformedRequest
from service.supervision.response import Cycle
from service.telemetry.record import Record
from service.telemetry.trace import request_id
from service.web import problems
from service.web.gate import STATE, Open

# What says how long a body is.
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class _Answered:
    """Stands where the request would stand that is being answered."""

    response_complete = True
    disconnected = False
    more_body = False
    message_event = asyncio.Event()


_ANSWERED: Final = _Answered()


class Connection(HttpToolsProtocol):
    """`on_count` hears how many connections the server holds, whenever that changes."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        on_count: Callable[[int], None] = lambda count: None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._on_count = on_count
        self._gate = app_state.get(STATE) or Open()
        self._is_over = False
        self._is_declining = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._on_count(len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        for _ in self.pipeline:
            self._gate.arrivals.begin()  # they never will
        super().connection_lost(exc)
        self._on_count(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("")

    def _feed(self, data: bytes) -> bytes:
        """Give the parser what came; returns what is left behind an offer of another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline_upgrade()
            return data[offer.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        if not self._is_declining:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_declining:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_declining:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_declining or (self._gate.is_pressed and self._is_refused()):
            return
        self._gate.arrivals.arrive()
        super().on_headers_complete()
        if self.cycle.__class__ is not Cycle:
            Cycle.adopt(self.cycle)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        Cycle.adopt(cycle)
        cycle.arrivals = self._gate.arrivals
        super()._start_asgi_task(cycle, app)

    def _is_refused(self) -> bool:
        """Answer at once, and go on with the next request, if the gate says so.

        Only where nothing is unusual: what is refused elsewhere costs more, and that is all.
        """
        default = self.server_state.default_headers
        if not self.is_idle or not self.parser.should_keep_alive() or b"connection" in dict(default):
            return False
        answer = self._gate.refuse(self.parser.get_method(), self.url, self.headers)
        if answer is None:
            return False
        self.cycle = _ANSWERED  # type: ignore[assignment]  # so that the body is read past
        lines = b"".join([b"%s: %s\r\n" % header for header in default])
        self.transport.write(b"%s%s%s\r\n%s" % (STATUS_LINE[answer.status], lines, answer.lines, answer.body))
        self.on_response_complete()
        return True

    def _decline_upgrade(self) -> None:
        """Go on in HTTP/1.1, as if HTTP/2 or a web socket had not been offered (RFC 9110, 7.8).

        The parser takes what follows the head for the other protocol, and the request for one without a body. Another
        parser, told how long the body is, takes over where it left off.
        """
        framing = [header for header in self.headers if header[0] in _FRAMING]
        self.parser = httptools.HttpRequestParser(self)
        self._is_declining = True
        if framing:
            # The request has not been looked at yet: its task starts in the next turn of the loop.
            self.cycle.more_body = True
            self.cycle.message_event.clear()
            head = b"".join(b"%s: %s\r\n" % header for header in framing)
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + head + b"\r\n")
        self._is_declining = False

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that closes its side behind its request still wants the answer; only a lost connection cancels."""
        if self.is_idle or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    @property
    def is_idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def answer_last(self) -> None:
        """The answer that is under way closes the connection."""
        if not self.is_idle:
            self.cycle.keep_alive = False

    def say_goodbye(self) -> None:
        """FIN to an idle client. What it sends from now on is read, so that closing resets nothing, and dropped."""
        if not self.is_idle:
            return
        self._is_over = True
        self._unset_keepalive_if_required()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()  # TLS has no half-closed state

    def send_400_response(self, msg: str) -> None:
        """Called for bytes that are no HTTP; the connection ends with the answer."""
        error = MalformedRequest("these bytes are not an HTTP/1.1 request; the connection is closed")
        record = Record(request_id(None), None, "", status=problems.status_of(error), code=error.code, error=error)
        body = problems.body_of(error, record.request_id)
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", record.request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[record.status] + lines + b"\r\n" + body)
        self.transport.close()
        record.bytes_out = len(body)
        record.close()
