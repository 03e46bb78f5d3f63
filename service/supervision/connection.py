"""One HTTP connection: Uvicorn's protocol class, with our answer to what its parser refuses."""

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import MalformedRequest
from service.telemetry.record import Record
from service.telemetry.trace import request_id
from service.web import problems

log = structlog.get_logger()


class Connection(HttpToolsProtocol):
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

    def _unsupported_upgrade_warning(self) -> None:
        """Clients that offer HTTP/2 or a web socket are answered over HTTP/1.1; that is nobody's mistake."""
        log.debug("upgrade_ignored")
