"""Values of a JSON document, each read as what it must be, or refused with what came."""

from typing import Any

import orjson

from service.errors import MalformedRequest


def an_object(what: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if type(value) is not dict:
        raise MalformedRequest(f"{what}: expected an object, got {said(value)}")
    return value


def boolean(what: str, value: Any) -> bool | None:
    if value is None or type(value) is bool:
        return value
    raise MalformedRequest(f"{what}: expected true or false, got {said(value)}")


def count(what: str, value: Any, unit: str) -> int:
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise MalformedRequest(f"{what}: expected an integer from 0 up ({unit}), got {said(value)}")
    return value


def identity(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value or None
    raise MalformedRequest(f"'id': expected a string, got {said(value)}")


def said(value: Any) -> str:
    """A JSON value as a message may repeat it: short."""
    text = "nothing" if value is None else orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
