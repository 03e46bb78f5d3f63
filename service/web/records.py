"""The record of a request, carried in its ASGI scope."""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from service.telemetry.record import Record

_KEY: Final = "onnicorn.record"


def attach(scope: MutableMapping[str, Any], record: Record) -> None:
    scope[_KEY] = record


def record_of(scope: Mapping[str, Any]) -> Record:
    """Set by the accounting middleware before anything else sees the request."""
    record = scope[_KEY]
    assert isinstance(record, Record)
    return record
