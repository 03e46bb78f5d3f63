"""An answer that no app gives: to what is no request, or never becomes one."""

from collections.abc import Iterable

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.errors import MalformedRequest, OnnicornError
from service.telemetry.record import Record
from service.telemetry.trace import request_id
from service.web import problems


def refusal(error: OnnicornError, default: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, Record]:
    """The answer, which is its connection's last, and the record of it, to be closed once it is sent."""
    record = Record(request_id(None), None, "", status=problems.status_of(error), code=error.code, error=error)
    body = problems.body_of(error, record.request_id)
    headers = [
        *((name, value) for name, value in default if name != b"connection"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *((name.encode(), value.encode()) for name, value in problems.headers_of(error).items()),
        (b"x-request-id", record.request_id.encode()),
        (b"connection", b"close"),
    ]
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    record.bytes_out = len(body)
    return STATUS_LINE[record.status] + lines + b"\r\n" + body, record


def error_behind(error: httptools.HttpParserError) -> OnnicornError:
    """What our own code raised while the parser called it; or else the parser's complaint in our words."""
    cause = error.__context__
    if isinstance(cause, OnnicornError):
        return cause
    return MalformedRequest("these bytes are not an HTTP/1.1 request; the connection is closed")
