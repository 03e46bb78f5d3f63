"""The JSON of a request: parsed under a bound on its depth, and repeated in messages no longer than a line."""

from typing import Any, Final

import numpy as np
import orjson

from service.errors import MalformedRequest

_OPENING: Final = b"[{"
_CLOSING: Final = b"]}"
_QUOTE: Final = ord('"')
# As many bytes are looked at together, so that looking at a large text takes no more memory than at a small one.
_BLOCK: Final = 1 << 20
# A list costs a hundred bytes and is freed one by one; a tensor of rank 9 whose last dimensions are 1 has so many.
_ARRAYS_PER_COMMA: Final = 8
_STEPS: Final = np.array([(byte in _OPENING) - (byte in _CLOSING) for byte in range(256)], np.int8)
_MOST_SAID: Final = 60


def parse(text: bytes, depth: int) -> dict[str, Any]:
    """A JSON object, nested no deeper than `depth`. Raises MalformedRequest."""
    # Counting brackets is fast and says yes to nearly every body; the rest is looked at before anything is made of it.
    if text.count(b"[") + text.count(b"{") > depth:
        _check_nesting(text, depth)
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        problem = "it is empty" if not text else str(error)
        raise MalformedRequest(f"the body is not valid JSON: {problem}") from None
    if type(document) is not dict:
        raise MalformedRequest(f"the body: expected a JSON object, got {said(document)}")
    return document


def _check_nesting(text: bytes, depth: int) -> None:
    """It is not parsed for that: brackets are added up, but for those in strings."""
    if b"\\" in text:
        # A quote that ends no string: after this there is none. The order matters, \\" does end one.
        text = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    level, opened, quoted = 0, 0, False
    for start in range(0, len(text), _BLOCK):
        block = np.frombuffer(text, np.uint8, min(_BLOCK, len(text) - start), start)
        inside = np.logical_xor.accumulate(block == _QUOTE) ^ quoted
        steps = np.where(inside, 0, _STEPS[block])
        levels = np.cumsum(steps, dtype=np.int32)
        if level + int(levels.max()) > depth:
            raise MalformedRequest(f"the body is nested deeper than {depth} levels")
        level, quoted = level + int(levels[-1]), bool(inside[-1])
        opened += int(np.count_nonzero(steps == 1))
    if opened - depth > _ARRAYS_PER_COMMA * text.count(b","):
        raise MalformedRequest(
            f"the body has {opened} arrays and objects with next to nothing inside; send 'data' flat"
        )


def said(value: Any) -> str:
    """A JSON value as a message may repeat it: short."""
    try:
        text = "nothing" if value is None else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        text = "an array" if type(value) is list else "an object"
    return text if len(text) <= _MOST_SAID else f"{text[: _MOST_SAID - 3]}..."
