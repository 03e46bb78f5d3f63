"""An answer that no app gives: to what is no request, never becomes one, or is not let in."""

import asyncio
from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.errors import InternalError, MalformedRequest, OnnicornError
from service.telemetry.record import Record
from service.telemetry.trace import request_id
from service.web import problems
from service.web.gate import Answer, Headers


def refusal(
    error: OnnicornError, default: Iterable[tuple[bytes, bytes]], overload_status: int = 503
) -> tuple[bytes, Record]:
    """The answer, which is its connection's last, and the record of it, to be closed once it is sent."""
    status = problems.status_of(error, overload_status)
    record = Record(request_id(None), None, "", status=status, code=error.code, error=error)
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


class Answered:
    """Stands where the request would stand that has been answered at the gate, so that its body is read past."""

    response_complete = True
    response_started = True
    more_body = False
    disconnected = False
    keep_alive = True
    bytes_sent = 0
    lingers = False
    waiting_for_100_continue = False
    body = b""
    message_event = asyncio.Event()

    def __init__(self, scope: Any) -> None:
        self.scope = scope


def in_one_piece(answer: Answer, default: Headers, is_last: bool) -> bytes:
    """What the gate says, as it is sent; unless it is the last answer the connection goes on."""
    lines = b"".join([b"%s: %s\r\n" % header for header in default])
    end = b"connection: close\r\n" if is_last else b""
    return b"%s%s%s%s\r\n%s" % (STATUS_LINE[answer.status], lines, answer.lines, end, answer.body)


def error_behind(error: httptools.HttpParserError) -> OnnicornError:
    """What our own code raised while the parser called it; or else the parser's complaint in our words.

    What should not have been raised there is our mistake and not the client's.
    """
    cause = error.__context__
    if isinstance(cause, OnnicornError):
        return cause
    if cause is None or isinstance(cause, httptools.HttpParserError | UnicodeError):
        return MalformedRequest("these bytes are not an HTTP/1.1 request; the connection is closed")
    failure = InternalError()
    failure.__cause__ = cause
    return failure
