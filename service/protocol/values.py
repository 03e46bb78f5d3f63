"""Values of a JSON document, each read as what it must be, or refused with what came."""

from collections.abc import Iterator
from math import inf
from typing import Any, Final

from service.errors import MalformedRequest
from service.protocol.document import said
from service.quoting import quoted

_MAX_ID: Final = 1024


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


def named(field: str, value: Any, most: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """An array of at most so many objects, each with a name that no other has."""
    if type(value) is not list:
        raise MalformedRequest(f"{field!r}: expected an array, got {said(value)}")
    if len(value) > most:
        raise MalformedRequest(f"{field!r}: expected at most {most} tensors, got {len(value)}")
    seen: set[str] = set()
    for index, item in enumerate(value):
        what = f"{field}[{index}]"
        if type(item) is not dict:
            raise MalformedRequest(f"{what}: expected an object, got {said(item)}")
        name = item.get("name")
        if type(name) is not str:
            raise MalformedRequest(f"{what}: 'name': expected a string, got {said(name)}")
        if name in seen:
            raise MalformedRequest(f"{what}: name {quoted(name)} stands in {field!r} twice")
        seen.add(name)
        yield name, item


def identity(value: Any) -> str | None:
    """The request's own id, which comes back in the answer."""
    if value is not None and type(value) is not str:
        raise MalformedRequest(f"'id': expected a string, got {said(value)}")
    if value and len(value) > _MAX_ID:
        raise MalformedRequest(f"'id': expected at most {_MAX_ID} characters, got {len(value)}")
    return value or None


def options(parameters: dict[str, Any]) -> dict[str, Any]:
    """Of a request's parameters those that say how it is run. Triton's timeout is in microseconds, 0 for none."""
    return {
        "timeout": count("'parameters.timeout'", parameters.get("timeout"), "microseconds") / 1e6 or inf,
        "priority": count("'parameters.priority'", parameters.get("priority"), "a level, 1 the most urgent"),
        "allow_fallback": boolean("'parameters.allow_fallback'", parameters.get("allow_fallback")) or False,
    }
