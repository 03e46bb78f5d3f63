"""The record of a request: made from its head, carried in its ASGI scope, told to the caller."""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from service.telemetry.record import Record
from service.telemetry.trace import continue_trace, request_id

_KEY: Final = "onnicorn.record"


def record_for(scope: Mapping[str, Any]) -> Record:
    """A new one, with the caller's id and trace where they are sound."""
    given = trace = None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
        elif name == b"traceparent":
            trace = value.decode("latin-1")
    return Record(request_id(given), continue_trace(trace), scope["method"])


def headers_of(record: Record) -> list[tuple[bytes, bytes]]:
    """What every answer says of its request."""
    headers = [(b"x-request-id", record.request_id.encode())]
    if record.trace:
        headers.append((b"traceparent", record.trace.parent.encode()))
    return headers


def attach(scope: MutableMapping[str, Any], record: Record) -> None:
    scope[_KEY] = record


def record_of(scope: Mapping[str, Any]) -> Record:
    """Set by the accounting middleware before anything else sees the request."""
    record = scope[_KEY]
    assert isinstance(record, Record)
    return record
