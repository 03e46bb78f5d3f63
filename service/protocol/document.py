"""The JSON of a request: parsed under bounds on what is made of it, and repeated in messages no longer than a line."""

from json import JSONEncoder
from typing import Any, Final

import numpy as np
import orjson

from service.errors import MalformedRequest
from service.knobs import Limits

_OPENING: Final = b"[{"
_CLOSING: Final = b"]}"
_QUOTE: Final = ord('"')
# simdjson counts an array's elements no further, and its as_list() then writes beyond the end of what it has made.
MOST_NUMBERS: Final = 0xFFFFFF - 1
# A shorter text can hold no more than is harmless.
HARMLESS: Final = 64 << 10
# As many bytes are looked at together, so that looking at a large text takes no more memory than at a small one.
_BLOCK: Final = 1 << 20
# A tensor is an object of five members, and its parameters are another; the rest is for members that nobody knows.
_MEMBERS_PER_TENSOR: Final = 32
_MEMBERS_AROUND: Final = 128
# Bytes that values take as objects of Python beyond their text, about: a short string in a list, and an instance of a
# Pydantic model with its fields.
_VALUE_BYTES: Final = 64
_OBJECT_BYTES: Final = 512
_STEPS: Final = np.array([(byte in _OPENING) - (byte in _CLOSING) for byte in range(256)], np.int8)
_MOST_SAID: Final = 60
# Writes piece by piece, as far as it is asked to; what has not been read yet as it says itself.
_WRITER: Final = JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


def parse(text: bytes, limits: Limits, *, of_rows: bool = False) -> dict[str, Any]:
    """A JSON object; the rest as `parse_value`."""
    document = parse_value(text, limits, of_rows=of_rows)
    if type(document) is not dict:
        raise MalformedRequest(f"the body: expected a JSON object, got {said(document)}")
    return document


def parse_value(text: bytes, limits: Limits, *, of_rows: bool = False) -> Any:
    """Any JSON, nested no deeper and of no more values and members than is allowed. Raises MalformedRequest.

    Tensors are few objects and many elements; rows may be as many objects as they have values.
    """
    # Counting brackets is fast and says yes to nearly every body; the rest is looked at before anything is made of it.
    if len(text) > HARMLESS or text.count(b"[") + text.count(b"{") > limits.json_depth:
        _check(text, limits, of_rows)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        problem = "it is empty" if not text else str(error)
        raise MalformedRequest(f"the body is not valid JSON: {problem}") from None


def count(text: bytes, character: bytes) -> int:
    """numpy counts a byte in a large text ten times faster than `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == character[0]))


def weight(text: bytes) -> int:
    """About how many bytes of memory it takes as objects of Python: a guess, and rather too much than too little."""
    return len(text) + _VALUE_BYTES * count(text, b",") + _OBJECT_BYTES * count(text, b"{")


def _check(text: bytes, limits: Limits, of_rows: bool) -> None:
    """What is in strings counts too at first, and is told apart only where that makes too many."""
    arrays, objects, colons, commas = (count(text, character) for character in (b"[", b"{", b":", b","))
    most_members = limits.values if of_rows else _MEMBERS_PER_TENSOR * limits.tensors + _MEMBERS_AROUND
    if arrays + objects <= limits.json_depth and objects + colons <= most_members and arrays + commas <= limits.values:
        return
    counts = _count_outside_strings(text, limits.json_depth)
    members, values = int(counts[ord("{")] + counts[ord(":")]), int(counts[ord("[")] + counts[ord(",")])
    if members > most_members:
        advice = "fewer rows at a time" if of_rows else "each tensor's elements in one array"
        raise MalformedRequest(
            f"the body has {members} objects and members, of which at most {most_members} are read; send {advice}"
        )
    if values > limits.values and of_rows:
        raise MalformedRequest(
            f"the body has {values} values, of which at most {limits.values} are read; send fewer rows at a time"
        )
    if values > limits.values:
        raise MalformedRequest(
            f"the body has {values} values; in JSON at most {MOST_NUMBERS} numbers are read in arrays of 'data', "
            f"and {limits.values} other values: send binary tensors, or fewer rows at a time"
        )


def _count_outside_strings(text: bytes, depth: int) -> Any:
    """How often each byte stands outside of strings. Raises MalformedRequest where brackets are nested too deep."""
    if b"\\" in text:
        # A quote that ends no string: after this there is none. The order matters, \\" does end one.
        text = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    counts = np.zeros(256, np.int64)
    level, quoted = 0, False
    for start in range(0, len(text), _BLOCK):
        block = np.frombuffer(text, np.uint8, min(_BLOCK, len(text) - start), start)
        inside = np.logical_xor.accumulate(block == _QUOTE) ^ quoted
        outside = block[~inside]
        levels = np.cumsum(_STEPS[outside], dtype=np.int32)
        if level + int(levels.max(initial=0)) > depth:
            raise MalformedRequest(f"the body is nested deeper than {depth} levels")
        level, quoted = level + int(levels[-1:].sum()), bool(inside[-1])
        counts += np.bincount(outside, minlength=256)
    return counts


def said(value: Any) -> str:
    """A JSON value as a message may repeat it: short, and no more of it is written than that."""
    if value is None:
        return "nothing"
    text = ""
    for part in _WRITER.iterencode(value[:_MOST_SAID] if type(value) is str else value):
        text += part
        if len(text) > _MOST_SAID:
            return f"{text[: _MOST_SAID - 3]}..."
    return text
