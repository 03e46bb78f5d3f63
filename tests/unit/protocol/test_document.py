"""JSON under its bounds: how deep, how hollow, and what of it a message repeats."""

import json
import random
from typing import Any

import pytest

from service.errors import MalformedRequest
from service.protocol import document
from service.protocol.document import parse, said

DEEP = "the body is nested deeper than 100 levels"


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def refusal(text: bytes, depth: int = 100) -> str:
    with pytest.raises(MalformedRequest) as caught:
        parse(text, depth)
    return str(caught.value)


@pytest.mark.parametrize("depth", [8, 100, 500])
def test_a_document_is_so_deep_and_no_deeper(depth: int) -> None:
    assert list(parse(nested(depth), depth)) == ["a"]
    assert refusal(nested(depth + 1), depth) == f"the body is nested deeper than {depth} levels"


@pytest.mark.parametrize(
    "text", [b"[" * 300_000, b'{"a":' * 60_000, b'{"a":"' + b"b" * (2 << 20) + b'","c":' + b"[" * 101]
)
def test_depth_is_seen_before_anything_is_made_of_it(text: bytes) -> None:
    assert refusal(text) == DEEP


@pytest.mark.parametrize("text", ["[" * 200, '"' + "[" * 200, "\\" + "[" * 200, '\\"' + "[{" * 200, '[\\\\"' * 200])
def test_brackets_in_a_string_are_no_depth(text: str) -> None:
    assert parse(json.dumps({"a": text}).encode(), 100) == {"a": text}


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert parse(json.dumps({"a": [[]] * 200}).encode(), 100) == {"a": [[]] * 200}


def test_arrays_around_next_to_nothing_are_not_made() -> None:
    hollow = b"[" * 90 + b"]" * 90
    text = b'{"a":[' + b",".join([hollow] * 1000) + b"]}"
    assert refusal(text) == "the body has 90002 arrays and objects with next to nothing inside; send 'data' flat"


def test_a_column_of_rank_nine_may_be_nested() -> None:
    text = b'{"a":[' + b",".join([b"[" * 8 + b"1" + b"]" * 8] * 1000) + b"]}"
    assert len(parse(text, 100)["a"]) == 1000


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_the_depth_of_any_document_is_seen(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(document, "_BLOCK", block)
    chance = random.Random(7)
    for _ in range(300):
        value = {"a": some_json(chance, 0)}
        text, depth = json.dumps(value).encode(), depth_of(value)
        assert parse(text, depth) == value
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
        (json.loads("[" * 400 + "]" * 400), "an array"),
        (json.loads('{"a":' * 400 + "1" + "}" * 400), "an object"),
    ],
)
def test_a_value_is_repeated_shortly(value: Any, text: str) -> None:
    assert said(value) == text
