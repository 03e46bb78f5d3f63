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
from service.errors import MalformedRequest
from service.knobs import Limits
from service.protocol.document import MOST_NUMBERS, count
from service.tensors import Array, Datatype

# Below this the ordinary way is faster. Measured on 64 floats: 5 us against 7 us; on 150,528: 7.0 ms against 2.9 ms.
LEAST_BYTES: Final = 16 << 10
# Each member is looked up in the whole object, which takes ages in a long one.
_MAX_MEMBERS: Final = 100
# Objects, and members and values besides numbers; more are the ordinary way's, which counts them.
_MAX_OBJECTS: Final = 100
_MAX_OTHERS: Final = 10_000
# The document, its inputs, and one of them: what is around an array of numbers.
_LEVELS_AROUND: Final = 3
# numpy's kinds of numbers, and simdjson's names for the buffers that hold the widest of each.
_KINDS: Final[dict[str, Literal["d", "i", "u"]]] = {"f": "d", "i": "i", "u": "u"}


class Numbers:
    """An array of a parsed document, not read yet, nested no deeper than `depth`.

    `arrays` counts it and those inside; 0 where they are ragged or too deep. Of what turns out to be no numbers at
    most so many are read.
    """

    def __init__(self, array: simdjson.Array, depth: int, most: int) -> None:
        self._array = array
        self._most = most
        self.arrays, self._size = _count_even(array, depth)

    def decode(self, what: str, datatype: Datatype, shape: tuple[int, ...]) -> Array:
        """As `elements.decode`. Raises MalformedRequest."""
        array = self._buffered(datatype)
        if array is None:
            self._check_others(what, datatype)
            return elements.decode(what, datatype, shape, self._array.as_list())
        if array.size != prod(shape):
            raise elements.wrong_size(what, datatype, shape, array.size)
        return array.reshape(shape)

    def _check_others(self, what: str, datatype: Datatype) -> None:
        if self._size <= self._most:
            return
        if datatype.numpy.kind in _KINDS:
            expected = f"all elements of 'data' in the range of {datatype.name}, got others among them"
        else:
            expected = f"at most {self._most} elements in 'data', got {self._size}"
        raise MalformedRequest(f"{what}: expected {expected}")

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


def parse(text: bytes, limits: Limits) -> dict[str, Any] | None:
    """The document, with the `data` of each of its inputs as Numbers; None where the ordinary way has to read it.

    That is so too where it might be nested too deep, or have more arrays and other values than is allowed.
    """
    if len(text) < LEAST_BYTES or text.startswith(codecs.BOM_UTF8):
        return None
    opening = count(text, b"[")
    if opening > limits.values or count(text, b",") >= MOST_NUMBERS:
        return None
    if count(text, b"{") > _MAX_OBJECTS or count(text, b":") > _MAX_OTHERS:
        return None
    try:
        document = _Reader(limits).document(simdjson.Parser().parse(text))
    # Not JSON, or an integer of more than 64 bits, or a key that simdjson cannot look up again; or what the reader
    # leaves to the ordinary way.
    except (ValueError, RuntimeError, KeyError):
        return None
    # A buffer does not show an array among numbers, [1, [2]]; but then a bracket is left that nobody has accounted for.
    return document if document and _arrays(document) == opening else None


class _Reader:
    """Makes Python objects of a document, but for its numbers; of few, and raises ValueError for one of more."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = _MAX_OTHERS

    def document(self, value: Any) -> dict[str, Any] | None:
        """None for what is no object."""
        return self._members(value, self._member) if isinstance(value, simdjson.Object) else None

    def _member(self, key: str, value: Any) -> Any:
        """Each input that is an object as a dictionary; anything else as it is, for the decoder to refuse."""
        room = self._limits.json_depth - 1
        if key != "inputs" or not isinstance(value, simdjson.Array):
            return self._plain(value, room)
        self._take(len(value))
        return [
            self._members(item, self._input_member)
            if isinstance(item, simdjson.Object)
            else self._plain(item, room - 1)
            for item in value
        ]

    def _input_member(self, key: str, value: Any) -> Any:
        room = self._limits.json_depth - _LEVELS_AROUND
        if key == "data" and isinstance(value, simdjson.Array):
            return Numbers(value, room, self._limits.values)
        return self._plain(value, room)

    def _members(self, value: simdjson.Object, read: Callable[[str, Any], Any]) -> dict[str, Any]:
        """An object's members. Not by `items()`, which makes Python objects of all that is inside."""
        if len(value) > _MAX_MEMBERS:
            raise ValueError("too many members")
        keys = list(value.keys())
        if len(set(keys)) < len(keys):
            raise ValueError("a key twice, of which simdjson would take the first")
        return {key: read(key, value[key]) for key in keys}

    def _plain(self, value: Any, room: int) -> Any:
        """With all that is inside, in so many levels. Not by `as_list()` or `as_dict()`, which know no bounds."""
        if isinstance(value, simdjson.Object):
            self._take(len(value), room)
            return self._members(value, lambda key, member: self._plain(member, room - 1))
        if isinstance(value, simdjson.Array):
            self._take(len(value), room)
            return [self._plain(item, room - 1) for item in value]
        return value

    def _take(self, values: int, room: int = 1) -> None:
        self._left -= values + 1
        if self._left < 0 or room < 1:
            raise ValueError("too many values, or too deep")


def _arrays(value: Any) -> int:
    """How many arrays a read document has."""
    if isinstance(value, Numbers):
        return value.arrays
    if isinstance(value, dict):
        return sum(map(_arrays, value.values()))
    return 1 + sum(map(_arrays, value)) if isinstance(value, list) else 0


def _count_even(array: simdjson.Array, depth: int) -> tuple[int, int]:
    """The arrays down to the numbers, and what is in the innermost, as far as the first of each level tells.

    No arrays where the lengths of one level differ, or where there are more levels than `depth`.
    """
    level: list[Any] = [array]
    arrays = 1
    while len(level[0]) and isinstance(level[0][0], simdjson.Array):
        level = [child for parent in level for child in parent]
        length, depth = _length(level[0]), depth - 1
        if depth < 1 or not all(_length(child) == length for child in level):
            return 0, 0
        arrays += len(level)
    return arrays, len(level) * len(level[0])


def _length(value: Any) -> int:
    return len(value) if isinstance(value, simdjson.Array) else -1
