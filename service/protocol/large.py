"""Large JSON documents: their numbers go from text to array without becoming Python objects in between.

orjson makes an object of each number, which for an image costs more than all the rest of a request. simdjson can put
an array's numbers into a buffer, and is as strict about their types. It only ever says yes here: whatever it cannot
take is read by the ordinary way, which also has the better messages.
"""

import codecs
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final, Literal

import numpy as np
import simdjson

from service import elements
from service.errors import MalformedRequest
from service.knobs import Limits
from service.protocol.document import HARMLESS, MOST_NUMBERS, count
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
# Members of a typed request in which there are tensors.
_TYPED: Final = ("instances", "inputs")
# numpy's kinds of numbers, and simdjson's names for the buffers that hold the widest of each.
_KINDS: Final[dict[str, Literal["d", "i", "u"]]] = {"f": "d", "i": "i", "u": "u"}


class Numbers:
    """An array of a parsed document, not read yet, nested no deeper than `depth`.

    `arrays` counts it and those inside, and `shape` has their lengths; 0 and none where they are ragged or too deep.
    There are at most so many of them, and of what turns out to be no numbers at most so many are read.
    """

    def __init__(self, array: simdjson.Array, depth: int, most: int) -> None:
        self._array = array
        self._most = most
        self.arrays, self.shape = _measure(array, depth, most)

    def __str__(self) -> str:
        """As a message may repeat it."""
        return "[...]"

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
        size = prod(self.shape)
        if size <= self._most:
            return
        if datatype.numpy.kind in _KINDS:
            expected = f"all elements in the range of {datatype.name}, got others among them"
        else:
            expected = f"at most {self._most} elements, got {size}"
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
    if len(text) < LEAST_BYTES or count(text, b"{") > _MAX_OBJECTS:
        return None
    document: dict[str, Any] | None = _parsed(text, limits, _Reader(limits).document)
    return document


def parse_rows(text: bytes, limits: Limits) -> Any:
    """The same of the typed protocol, with the rows or columns as Numbers, or else those of each object among them.

    None too where there are no more values than the ordinary way takes, which knows better what is wrong with one.
    """
    return _parsed(text, limits, _RowsReader(limits).document) if _is_long(text, limits) else None


def parse_row(text: bytes, limits: Limits) -> Any:
    """The same of one row."""
    return _parsed(text, limits, _RowsReader(limits).row) if _is_long(text, limits) else None


def decode_rows(what: str, datatype: Datatype, shape: Sequence[int], rows: Sequence[Any]) -> Array:
    """Rows, some of which are Numbers, as one array. Raises MalformedRequest."""
    shapes = [row.shape if isinstance(row, Numbers) else () for row in rows]
    for index, other in enumerate(shapes):
        if other != shapes[0]:
            raise MalformedRequest(
                f"{what}: rows 0 and {index} differ in shape: send rows that differ in requests of their own"
            )
    return np.stack([row.decode(what, datatype, tuple(shape[1:])) for row in rows])


def _is_long(text: bytes, limits: Limits) -> bool:
    """Text that is coded is read by nobody here."""
    if len(text) <= HARMLESS or count(text, b"[") + count(text, b",") <= limits.values:
        return False
    return b"b64" not in text


def _parsed(text: bytes, limits: Limits, read: Callable[[Any], Any]) -> Any:
    if text.startswith(codecs.BOM_UTF8):
        return None
    opening = count(text, b"[")
    if opening > limits.values or count(text, b",") >= MOST_NUMBERS:
        return None
    if count(text, b"{") > _MAX_OTHERS or count(text, b":") > _MAX_OTHERS:
        return None
    try:
        document = read(simdjson.Parser().parse(text))
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


class _RowsReader(_Reader):
    """The same of the typed protocol."""

    def row(self, value: Any) -> Any:
        return self._values(value, self._limits.json_depth)

    def _member(self, key: str, value: Any) -> Any:
        room = self._limits.json_depth - 1
        if key not in _TYPED:
            return self._plain(value, room)
        if isinstance(value, simdjson.Array) and len(value) and isinstance(value[0], simdjson.Object):
            self._take(len(value))  # not all of them need be objects
            return [self._values(row, room - 1) for row in value]
        return self._values(value, room)

    def _values(self, value: Any, room: int) -> Any:
        """Of one input, or of several by their names."""
        if isinstance(value, simdjson.Object):
            return self._members(value, lambda _, member: self._value(member, room - 1))
        return self._value(value, room)

    def _value(self, value: Any, room: int) -> Any:
        if isinstance(value, simdjson.Array) and len(value):
            return Numbers(value, room, self._limits.values)
        return self._plain(value, room)


def _arrays(value: Any) -> int:
    """How many arrays a read document has."""
    if isinstance(value, Numbers):
        return value.arrays
    if isinstance(value, dict):
        return sum(map(_arrays, value.values()))
    return 1 + sum(map(_arrays, value)) if isinstance(value, list) else 0


def _measure(array: simdjson.Array, depth: int, most: int) -> tuple[int, tuple[int, ...]]:
    """The arrays down to the numbers, and the lengths of each level, as far as the first of each tells.

    No arrays where the lengths of one level differ, or where there are more levels than `depth`, or more than so many
    arrays: those are numbers behind an array, which are not to become objects.
    """
    level: list[Any] = [array]
    arrays, shape = 1, [len(array)]
    while shape[-1] and isinstance(level[0][0], simdjson.Array):
        if len(level) * shape[-1] > most:
            return 0, ()
        level = [child for parent in level for child in parent]
        length, depth = _length(level[0]), depth - 1
        if depth < 1 or not all(_length(child) == length for child in level):
            return 0, ()
        arrays += len(level)
        shape.append(length)
    return arrays, tuple(shape)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, simdjson.Array) else -1
