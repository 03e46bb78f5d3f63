"""What Pydantic finds wrong with a value, in the words of every other refusal: `age: expected a number, got "x"`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError

from service.quoting import quoted, shorten

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
_LENGTHS: Final = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}
_BOUNDS: Final = {"less_than_equal": ("at most", "le"), "greater_than_equal": ("at least", "ge")}
# How its own sentences begin, before they come to the point.
_SHOULD_BE: Final = "Input should be "
_COMPARED: Final = ("greater than", "less than")
_JSON: Final = (Mapping, list, tuple, str, int, float, type(None))
_UNKNOWN: Final = object()
_RAISED: Final = ("Value error, ", "Assertion failed, ")


def explain(error: ValidationError, where: str = "", given: Any = _UNKNOWN) -> list[str]:
    """One sentence for each thing that is wrong, with its path below `where`, which itself may be one.

    Where it is known what was `given`, a path has nothing but what is in that.
    """
    sentences = [_sentence(detail, where, given) for detail in error.errors(include_url=False)]
    return list(dict.fromkeys(sentences))


def _sentence(detail: Mapping[str, Any], where: str, given: Any) -> str:
    kind, message = detail["type"], detail["msg"]
    place = path(where, _found(detail["loc"], given, kind == "missing"))
    if kind == "missing":
        return f"{place}: expected a value, got none"
    if kind == "extra_forbidden":
        return f"{place}: there is no such field"
    if kind in _LENGTHS and isinstance(detail["input"], list | str):
        words, field = _LENGTHS[kind]
        return f"{place}: expected {words} {detail['ctx'][field]} elements, got {len(detail['input'])}"
    if kind in _BOUNDS:
        words, field = _BOUNDS[kind]
        return f"{place}: expected {words} {detail['ctx'][field]}, got {_shown(detail['input'])}"
    for prefix in _RAISED:
        if message.startswith(prefix):
            return f"{place}: {message.removeprefix(prefix)}"
    for prefix, expected in _EXPECTED.items():
        if kind.startswith(prefix):
            return f"{place}: expected {expected}, got {_shown(detail['input'])}"
    if message.startswith(_SHOULD_BE):
        wanted = message.removeprefix(_SHOULD_BE)
        wanted = f"a value {wanted}" if wanted.startswith(_COMPARED) else wanted
        return f"{place}: expected {wanted}, got {_shown(detail['input'])}"
    return f"{place}: {message[:1].lower()}{message[1:]}, got {_shown(detail['input'])}"


def _found(location: Sequence[int | str], given: Any, is_missing: bool) -> list[int | str]:
    """The steps of a location that can be gone; Pydantic's also name the members of unions that it has tried."""
    steps: list[int | str] = []
    for number, step in enumerate(location, 1):
        if _has(given, step):
            given = given[step]
        elif isinstance(given, _JSON) and not (is_missing and number == len(location)):
            continue
        steps.append(step)
    return steps


def _has(given: Any, step: int | str) -> bool:
    if isinstance(given, list | tuple):
        return isinstance(step, int) and step < len(given)
    return isinstance(given, Mapping) and step in given


def path(where: str, location: Iterable[int | str]) -> str:
    """As JavaScript would reach it: `instances[3].age`. A caller's own key may be anything."""
    steps = where
    for step in location:
        if isinstance(step, int):
            steps += f"[{step}]"
        elif step.isidentifier():
            steps += f".{shorten(step)}" if steps else shorten(step)
        else:
            steps += f"[{quoted(step)}]"
    return steps or "it"


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
