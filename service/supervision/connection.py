"""One HTTP connection: Uvicorn's protocol class, with our answer to what its parser refuses, and with an end."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from service.errors import MalformedRequest
from service.telemetry.record import Record
from service.telemetry.trace import request_id
from service.web import problems

_UPGRADE: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)


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
        self._is_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._on_count(len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_count(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if b"pgrade" in data and (self.cycle is None or not self.cycle.more_body):
            data = _without_upgrade(data)
        super().data_received(data)

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


def _without_upgrade(data: bytes) -> bytes:
    """Decline an offer of HTTP/2 or a web socket by not seeing it (RFC 9110, 7.8).

    The parser would take what follows the head for the other protocol, and the request would lose its body.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-declined-upgrade:", head) + end + rest
