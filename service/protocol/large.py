"""Large JSON documents: their numbers go from text to array without becoming Python objects in between.

orjson makes an object of each number, which for an image costs more than all the rest of a request. simdjson can put
an array's numbers into a buffer, and is as strict about their types. It only ever says yes here: whatever it cannot
take is read by the ordinary way, which also has the better messages.
"""

import codecs
from collections.abc import Callable
from math import prod
from typing import Any, Final, Literal

import numpy as np
import simdjson

from service import elements
from service.tensors import Array, Datatype

# Below this the ordinary way is faster. Measured on 64 floats: 5 us against 7 us; on 150,528: 7.0 ms against 2.9 ms.
LEAST_BYTES: Final = 16 << 10
# More brackets than this are many short arrays, where nothing is gained; few brackets also bound the depth.
_MAX_BRACKETS: Final = 100
# Each member is looked up in the whole object, which takes ages in a long one.
_MAX_MEMBERS: Final = 100
# numpy's kinds of numbers, and simdjson's names for the buffers that hold the widest of each.
_KINDS: Final[dict[str, Literal["d", "i", "u"]]] = {"f": "d", "i": "i", "u": "u"}


class Numbers:
    """An array of a parsed document, not read yet. `arrays` counts it and those inside; 0 where they are ragged."""

    def __init__(self, array: simdjson.Array) -> None:
        self._array = array
        self.arrays = _count_even(array)

    def decode(self, what: str, datatype: Datatype, shape: tuple[int, ...]) -> Array:
        """As `elements.decode`. Raises MalformedRequest."""
        array = self._buffered(datatype)
        if array is None or array.size != prod(shape):
            return elements.decode(what, datatype, shape, self._array.as_list())
        return array.reshape(shape)

    def _buffered(self, datatype: Datatype) -> Array | None:
        """The elements, flat; None where only a closer look can tell what is wrong with them."""
        kind = _KINDS.get(datatype.numpy.kind)
        if kind is None:
            return None
        try:
            buffer = self._array.as_buffer(of_type=kind)
        except (TypeError, ValueError):
            return None
        wide = np.frombuffer(buffer, dtype={"d": np.float64, "i": np.int64, "u": np.uint64}[kind])
        with np.errstate(over="ignore"):
            narrow = wide.astype(datatype.numpy, copy=False)
        exact = np.isfinite(narrow).all() if kind == "d" else narrow is wide or np.array_equal(narrow, wide)
        return narrow if exact else None


def parse(text: bytes, depth: int) -> dict[str, Any] | None:
    """The document, with the `data` of each of its inputs as Numbers; None where the ordinary way has to read it.

    That is so too where it might be nested deeper than `depth`.
    """
    if len(text) < LEAST_BYTES or text.startswith(codecs.BOM_UTF8):
        return None
    opening = _count(text, b"[")
    if opening + _count(text, b"{") > min(_MAX_BRACKETS, depth):
        return None
    try:
        document = _members(simdjson.Parser().parse(text), _member)
    # Not JSON, or an integer of more than 64 bits, or a key that simdjson cannot look up again.
    except (ValueError, RuntimeError, KeyError):
        return None
    # A buffer does not show an array among numbers, [1, [2]]; but then a bracket is left that nobody has accounted for.
    return document if document and _arrays(document) == opening else None


def _member(key: str, value: Any) -> Any:
    """Each input that is an object as a dictionary; anything else as it is, for the decoder to refuse."""
    if key != "inputs" or not isinstance(value, simdjson.Array):
        return _plain(value)
    return [_members(item, _input_member) or _plain(item) for item in value]


def _input_member(key: str, value: Any) -> Any:
    return Numbers(value) if key == "data" and isinstance(value, simdjson.Array) else _plain(value)


def _members(value: Any, read: Callable[[str, Any], Any]) -> dict[str, Any] | None:
    """An object's members; None for what is none, for one of too many, and for one with a key twice.

    Of those simdjson would take the first. Not by `items()`, which makes Python objects of all that is inside.
    """
    keys = list(value.keys()) if isinstance(value, simdjson.Object) and len(value) <= _MAX_MEMBERS else []
    return {key: read(key, value[key]) for key in keys} if keys and len(set(keys)) == len(keys) else None


def _arrays(value: Any) -> int:
    """How many arrays a read document has."""
    if isinstance(value, Numbers):
        return value.arrays
    if isinstance(value, dict):
        return sum(map(_arrays, value.values()))
    return 1 + sum(map(_arrays, value)) if isinstance(value, list) else 0


def _count_even(array: simdjson.Array) -> int:
    """The arrays down to the numbers, as far as the first of each level tells; 0 where their lengths differ."""
    level: list[Any] = [array]
    count = 1
    while len(level[0]) and isinstance(level[0][0], simdjson.Array):
        level = [child for parent in level for child in parent]
        if not all(isinstance(child, simdjson.Array) and len(child) == len(level[0]) for child in level):
            return 0
        count += len(level)
    return count


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _count(text: bytes, character: bytes) -> int:
    """numpy counts a byte in a large text ten times faster than `bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == character[0]))
