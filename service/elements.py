"""A tensor's elements as JSON has them: numbers, booleans and strings, flat or nested, row-major.

Open Inference Protocol v2, "Tensor Data". Nothing is wrapped, truncated or guessed: an integer out of range, a float
for an integer, `true` for a number, a number that overflows its datatype, a ragged nesting are all refused.
"""

from array import array
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any, Final

import numpy as np
import orjson

from service.errors import MalformedRequest
from service.tensors import Array, Datatype, describe, limits_of

# The C types of the `array` module convert a list in one pass, refuse other types and check the range. FP16 has none.
_TYPECODES: Final = {
    Datatype.BOOL: "B",
    Datatype.UINT8: "B",
    Datatype.UINT16: "H",
    Datatype.UINT32: "I",
    Datatype.UINT64: "Q",
    Datatype.INT8: "b",
    Datatype.INT16: "h",
    Datatype.INT32: "i",
    Datatype.INT64: "q",
    Datatype.FP16: "d",
    Datatype.FP32: "f",
    Datatype.FP64: "d",
}


# Elements that are written together: for a few milliseconds.
CHUNK: Final = 1 << 16
# Elements that are looked at one by one.
_FEW: Final = 64


def decode(what: str, datatype: Datatype, shape: Sequence[int], data: Any, booleans: bool = True) -> Array:
    """Elements as an array of `datatype` and `shape`. `what` names the tensor in messages, as in `input 'x'`.

    `booleans=False` promises that `data` holds no `True` or `False` (JSON text without those words holds none), which
    saves a look at every element. Raises MalformedRequest.
    """
    if not isinstance(data, list):
        raise MalformedRequest(f"{what}: expected an array of elements in 'data', got {_kind(data)}")
    flat = _flatten(what, data)
    if len(flat) != prod(shape):
        raise wrong_size(what, datatype, shape, len(flat))
    if datatype is Datatype.BYTES:
        return _decode_strings(what, flat).reshape(shape)
    if booleans and datatype is not Datatype.BOOL and bool in set(map(type, flat)):
        raise _wrong_element(what, datatype, flat)
    return _decode_numbers(what, datatype, flat).reshape(shape)


def wrong_size(what: str, datatype: Datatype, shape: Sequence[int], size: int) -> MalformedRequest:
    wanted = f"{describe(datatype, tuple(shape))} has {prod(shape)} elements"
    return MalformedRequest(f"{what}: {wanted}, 'data' has {size}")


def encode(tensor: Array) -> Any:
    """The elements, flat and row-major, in a form that the JSON codec writes: `null` where a number is not finite.

    Many are written here already, a chunk at a time: the codec itself would keep all other threads waiting. It puts
    commas between the chunks.
    """
    flat = tensor.reshape(-1)
    if flat.size > CHUNK:
        chunks = (flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK))
        return [
            orjson.Fragment(orjson.dumps(encode(chunk), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]) for chunk in chunks
        ]
    return flat.tolist() if flat.dtype.hasobject else np.ascontiguousarray(flat)


def _flatten(what: str, data: list[Any]) -> list[Any]:
    """One level at a time; each level's lists must have one length."""
    while data and type(data[0]) is list:
        if set(map(type, data)) != {list} or len(set(map(len, data))) != 1:
            raise MalformedRequest(f"{what}: 'data' is ragged: arrays side by side must have the same length")
        data = list(chain.from_iterable(data))
    return data


def _decode_strings(what: str, flat: list[Any]) -> Array:
    if not set(map(type, flat)) <= {str}:
        raise _wrong_element(what, Datatype.BYTES, flat)
    strings = np.empty(len(flat), dtype=np.object_)
    strings[:] = flat
    return strings


def _decode_numbers(what: str, datatype: Datatype, flat: list[Any]) -> Array:
    numbers = _numbers(datatype, flat)
    if numbers is None:
        raise _wrong_element(what, datatype, flat)
    return numbers


def _numbers(datatype: Datatype, flat: list[Any]) -> Array | None:
    """None where one of them is none of the datatype; a boolean counts as a number here."""
    try:
        numbers = np.frombuffer(memoryview(array(_TYPECODES[datatype], flat)), dtype=_TYPECODES[datatype])
    except (TypeError, OverflowError):
        return None
    if datatype is Datatype.BOOL:
        return None if numbers.size and numbers.max() > 1 else numbers.view(np.bool_)
    if not datatype.is_float:
        return numbers
    if datatype is Datatype.FP16:
        with np.errstate(over="ignore"):
            numbers = numbers.astype(datatype.numpy)
    # JSON has only finite numbers, all of which FP64 holds; in a narrower type others have overflowed.
    return numbers if datatype is Datatype.FP64 or np.isfinite(numbers).all() else None


def _wrong_element(what: str, datatype: Datatype, flat: list[Any]) -> MalformedRequest:
    """Say which is the first element that is at fault. Only ever run for a request that is refused."""
    index = _first_wrong(datatype, flat)
    value = flat[index]
    expected = {"O": "a string", "b": "true, false, 0 or 1", "f": "a number"}.get(datatype.numpy.kind, "an integer")
    got = repr(value) if isinstance(value, int | float) and len(repr(value)) <= 40 else _kind(value)
    got = got.lower() if isinstance(value, bool) else got
    in_range = f" in the range of {datatype.name}" if datatype.is_integer or datatype.is_float else ""
    return MalformedRequest(f"{what}: element {index} of 'data': expected {expected}{in_range}, got {got}")


def _first_wrong(datatype: Datatype, flat: list[Any]) -> int:
    """By halves: whole lists are held against a datatype in C, and all halves together are no longer than the list."""
    start, end = 0, len(flat)
    while end - start > _FEW:
        middle = (start + end) // 2
        if _all_fit(datatype, flat[start:middle]):
            start = middle
        else:
            end = middle
    return next(index for index in range(start, end) if not _fits(datatype, flat[index]))


def _all_fit(datatype: Datatype, flat: list[Any]) -> bool:
    if datatype is Datatype.BYTES:
        return set(map(type, flat)) == {str}
    if datatype is not Datatype.BOOL and bool in set(map(type, flat)):
        return False
    return _numbers(datatype, flat) is not None


def _fits(datatype: Datatype, value: Any) -> bool:
    if datatype is Datatype.BYTES:
        return type(value) is str
    if datatype is Datatype.BOOL:
        return isinstance(value, int) and value in (0, 1)
    if datatype.is_integer:
        low, high = limits_of(datatype)
        return type(value) is int and low <= value <= high
    try:
        with np.errstate(over="ignore"):
            return type(value) in (int, float) and bool(np.isfinite(np.float64(value).astype(datatype.numpy)))
    except OverflowError:
        return False


def _kind(value: Any) -> str:
    """What a JSON value is, in JSON's words."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "nothing"}
    return kinds.get(type(value), "a number")
