"""JSON under its bounds: how deep, how hollow, and what of it a message repeats."""

import json
import random
import tracemalloc
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from service.errors import MalformedRequest
from service.knobs import Limits
from service.protocol import document
from service.protocol.document import parse, said, weight

LIMITS = Limits()
DEEP = "the body is nested deeper than 100 levels"


def bounds(depth: int, **others: int) -> Limits:
    """Also where it is less than anybody may set."""
    return LIMITS.model_copy(update={"json_depth": depth, **others})


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def refusal(text: bytes, depth: int = 100, **limits: int) -> str:
    with pytest.raises(MalformedRequest) as caught:
        parse(text, bounds(depth, **limits))
    return str(caught.value)


@pytest.mark.parametrize("depth", [8, 100, 500])
def test_a_document_is_so_deep_and_no_deeper(depth: int) -> None:
    assert list(parse(nested(depth), bounds(depth))) == ["a"]
    assert refusal(nested(depth + 1), depth) == f"the body is nested deeper than {depth} levels"


@pytest.mark.parametrize(
    "text", [b"[" * 300_000, b'{"a":' * 60_000, b'{"a":"' + b"b" * (2 << 20) + b'","c":' + b"[" * 101]
)
def test_depth_is_seen_before_anything_is_made_of_it(text: bytes) -> None:
    assert refusal(text) == DEEP


@pytest.mark.parametrize("text", ["[" * 200, '"' + "[" * 200, "\\" + "[" * 200, '\\"' + "[{" * 200, '[\\\\"' * 200])
def test_brackets_in_a_string_are_no_depth(text: str) -> None:
    assert parse(json.dumps({"a": text}).encode(), LIMITS) == {"a": text}


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert parse(json.dumps({"a": [[]] * 200}).encode(), LIMITS) == {"a": [[]] * 200}


@pytest.mark.parametrize(
    ("text", "members"),
    [
        (b'{"inputs":[' + b'{"a":1},' * 40_000 + b"1]}", 80_002),
        (b'{"inputs":[' + b"{}," * 40_000 + b"1]}", 40_002),
        (b"{" + b",".join(b'"%d":1' % key for key in range(40_000)) + b"}", 40_001),
    ],
)
def test_objects_and_their_members_are_counted_before_they_are_made(text: bytes, members: int) -> None:
    expected = f"the body has {members} objects and members, of which at most 32896 are read"
    assert refusal(text).partition(";")[0] == expected


def test_rows_are_as_many_objects_as_values() -> None:
    text = json.dumps({"instances": [{"a": 1}] * 20_000}, separators=(",", ":")).encode()
    assert parse(text, Limits(values=40_002), of_rows=True) == json.loads(text)
    with pytest.raises(MalformedRequest) as caught:
        parse(text, Limits(values=40_001), of_rows=True)
    assert str(caught.value) == (
        "the body has 40002 objects and members, of which at most 40001 are read; send fewer rows at a time"
    )


def test_the_values_of_rows_are_numbers_too() -> None:
    text = b'{"a":[' + b"1," * 50_000 + b"1]}"
    with pytest.raises(MalformedRequest) as caught:
        parse(text, Limits(values=50_000), of_rows=True)
    assert str(caught.value) == "the body has 50001 values, of which at most 50000 are read; send fewer rows at a time"


class Text(BaseModel):
    text: str


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"text": "a text"}, Text),
        ("a text", str),
        ([0.5, 1.5], list[float]),
        ({"a": 1.5, "b": "two"}, dict[str, Any]),
        ("a" * 10_000, str),
    ],
)
def test_what_values_take_in_memory_is_guessed_well(value: Any, kind: Any) -> None:
    text = json.dumps([value] * 1000).encode()
    make = TypeAdapter(kind).validate_python
    tracemalloc.start()
    made = [make(each) for each in json.loads(text.decode())]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(made) == 1000
    assert taken <= weight(text) <= 5 * taken


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b'{"a":[' + b"1," * 50_000 + b"1]}", 50_001),
        (b'{"a":[' + b"[]," * 50_000 + b"1]}", 100_001),
        (b'{"a":[' + b'"a",' * 50_000 + b'"a"]}', 50_001),
        (b'{"a":[' + b",".join([b"[" * 90 + b"]" * 90] * 1000) + b"]}", 91_000),
    ],
)
def test_values_are_counted_before_they_are_made(text: bytes, values: int) -> None:
    assert refusal(text, values=values - 1) == (
        f"the body has {values} values; in JSON at most 16777214 numbers are read in arrays of 'data', "
        f"and {values - 1} other values: send binary tensors, or fewer rows at a time"
    )
    assert list(parse(text, Limits(values=values))) == ["a"]


def test_what_stands_in_a_string_is_no_value() -> None:
    """Only then are strings told apart from what is around them."""
    value = {"a": '[{,:"\\"' * 50_000}
    assert parse(json.dumps(value).encode(), Limits(values=1024)) == value


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_the_depth_of_any_document_is_seen(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(document, "_BLOCK", block)
    chance = random.Random(7)
    for _ in range(300):
        value = {"a": some_json(chance, 0)}
        text, depth = json.dumps(value).encode(), depth_of(value)
        assert parse(text, bounds(depth)) == value
        assert refusal(text, depth - 1) == f"the body is nested deeper than {depth - 1} levels"


def some_json(chance: random.Random, depth: int) -> Any:
    kind = chance.random()
    if depth > 8 or kind < 0.3:
        return "".join(chance.choice('[]{}"\\a') for _ in range(chance.randrange(6)))
    items = [some_json(chance, depth + 1) for _ in range(chance.randrange(3))]
    return (
        items if kind < 0.7 else {'[{"\\'[: chance.randrange(5)] + str(place): item for place, item in enumerate(items)}
    )


def depth_of(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth_of, children), default=0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        ({"a": [1, "b"]}, '{"a":[1,"b"]}'),
        ("a" * 58, '"' + "a" * 58 + '"'),
        ("a" * 59, '"' + "a" * 56 + "..."),
        (json.loads("[" * 400 + "]" * 400), "[" * 57 + "..."),
        (json.loads('{"a":' * 400 + "1" + "}" * 400), '{"a":' * 11 + '{"...'),
        ([1.5, "zwölf", True, None], '[1.5,"zwölf",true,null]'),
    ],
)
def test_a_value_is_repeated_shortly(value: Any, text: str) -> None:
    assert said(value) == text
