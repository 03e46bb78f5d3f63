"""What Pydantic finds wrong with a value, in the words of every other refusal: `age: expected a number, got "x"`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from pydantic import ValidationError

from service.errors import quoted, shorten

# By the beginning of an error's type; what is not here says itself what it expects.
_EXPECTED: Final = {
    "float_": "a number",
    "int_": "an integer",
    "bool_": "true or false",
    "string_type": "a string",
    "list_type": "an array",
    "tuple_type": "an array",
    "set_type": "an array",
    "dict_type": "an object",
    "model_": "an object",
    "dataclass_": "an object",
}
# How its own sentences begin, before they come to the point.
_SHOULD_BE: Final = "Input should be "
_RAISED: Final = ("Value error, ", "Assertion failed, ")


def explain(error: ValidationError, where: str = "") -> list[str]:
    """One sentence for each thing that is wrong, with its path below `where`, which itself may be one."""
    return [_sentence(detail, where) for detail in error.errors(include_url=False)]


def _sentence(detail: Mapping[str, Any], where: str) -> str:
    kind, message, path = detail["type"], detail["msg"], _path(where, detail["loc"])
    if kind == "missing":
        return f"{path}: expected a value, got none"
    if kind == "extra_forbidden":
        return f"{path}: there is no such field"
    for prefix in _RAISED:
        if message.startswith(prefix):
            return f"{path}: {message.removeprefix(prefix)}"
    for prefix, expected in _EXPECTED.items():
        if kind.startswith(prefix):
            return f"{path}: expected {expected}, got {_shown(detail['input'])}"
    if message.startswith(_SHOULD_BE):
        return f"{path}: expected {message.removeprefix(_SHOULD_BE)}, got {_shown(detail['input'])}"
    return f"{path}: {message[:1].lower()}{message[1:]}, got {_shown(detail['input'])}"


def _path(where: str, location: Iterable[int | str]) -> str:
    """As JavaScript would reach it: `instances[3].age`. A caller's own key may be anything."""
    path = where
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier():
            path += f".{shorten(step)}" if path else shorten(step)
        else:
            path += f"[{quoted(step)}]"
    return path or "it"


def _shown(value: Any) -> str:
    """A caller's value as JSON; of what is large, what it is."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, str):
        return shorten(orjson.dumps(value[:200]).decode())
    if value is None or isinstance(value, bool | int | float):
        return shorten(orjson.dumps(value).decode() if value is None or isinstance(value, bool) else repr(value))
    return f"an object of {type(value).__name__}"
