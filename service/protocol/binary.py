"""Tensors as raw bytes behind the JSON: the protocol's binary tensor data extension.

Little-endian, C order; BYTES elements are prefixed by their length in four bytes.
Source: triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from collections.abc import Sequence
from math import prod
from struct import Struct
from typing import Final

import numpy as np

from service.errors import MalformedRequest
from service.tensors import FREE, Array, Datatype, Signature, TensorSpec, describe

_LENGTH: Final = Struct("<I")


def decode(what: str, datatype: Datatype, shape: Sequence[int], blob: memoryview) -> Array:
    """`blob` as a tensor: a view of the bytes, not a copy, wherever their alignment allows. Raises MalformedRequest."""
    if datatype is Datatype.BYTES:
        return _decode_strings(what, shape, blob)
    expected = prod(shape) * datatype.size
    if len(blob) != expected:
        wanted = f"{describe(datatype, tuple(shape))} takes {expected} bytes"
        raise MalformedRequest(f"{what}: {wanted}, got {len(blob)}")
    numbers = np.frombuffer(blob, dtype=datatype.numpy)
    if datatype is Datatype.BOOL and numbers.size and numbers.view(np.uint8).max() > 1:
        raise MalformedRequest(f"{what}: expected the bytes 0 and 1 for BOOL, got {numbers.view(np.uint8).max()}")
    return np.require(numbers, requirements="A").reshape(shape)


def encode(tensor: Array) -> bytes:
    """A tensor's elements, row-major."""
    if not tensor.dtype.hasobject:
        return tensor.tobytes()
    texts = [text.encode() for text in tensor.reshape(-1)]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))


def decode_raw(signature: Signature, body: memoryview) -> tuple[str, Array]:
    """A body that is one input and nothing else: its name and the tensor, whose shape follows from the size.

    Every free dimension but one is 1, the one left over takes what is there; for BYTES the body is the one element.
    Raises MalformedRequest.
    """
    if len(signature.inputs) != 1:
        names = ", ".join(repr(spec.name) for spec in signature.inputs)
        raise MalformedRequest(f"a raw request can only carry one input; the model has {names}")
    spec = signature.inputs[0]
    what = f"input {spec.name!r}"
    if spec.datatype is Datatype.BYTES:
        shape = [1] if spec.shape is None else [1 if size == FREE else size for size in spec.shape]
        return spec.name, _strings([_text(what, body)], shape, what)
    return spec.name, decode(what, spec.datatype, _raw_shape(what, spec, len(body)), body)


def _raw_shape(what: str, spec: TensorSpec, size: int) -> list[int]:
    """The last free dimension is deduced: with several free, one row of some length is the likelier meaning."""
    shape = [FREE] if spec.shape is None else list(spec.shape)
    free = [axis for axis, length in enumerate(shape) if length == FREE]
    for axis in free[:-1]:
        shape[axis] = 1
    if free:
        row = prod(length for length in shape if length != FREE) * spec.datatype.size
        if not row or size % row:
            raise MalformedRequest(f"{what}: expected a multiple of {row} bytes for {spec}, got {size}")
        shape[free[-1]] = size // row
    return shape


def _decode_strings(what: str, shape: Sequence[int], blob: memoryview) -> Array:
    """None is read beyond those that the shape has."""
    texts: list[str] = []
    position, size, wanted = 0, len(blob), prod(shape)
    try:
        while position < size:
            if len(texts) == wanted:
                raise MalformedRequest(f"{what}: {_has(shape)}, {size - position} bytes are left over behind them")
            start = position + _LENGTH.size
            if start > size:
                raise MalformedRequest(f"{what}: {size - position} bytes at the end are too few for a length")
            position = start + _LENGTH.unpack_from(blob, position)[0]
            if position > size:
                raise MalformedRequest(
                    f"{what}: element {len(texts)} says it has {position - start} bytes, {size - start} are left"
                )
            texts.append(str(blob[start:position], "utf-8"))
    except UnicodeDecodeError as error:
        raise _no_text(f"{what}: element {len(texts)}", error) from None
    return _strings(texts, shape, what)


def _strings(texts: list[str], shape: Sequence[int], what: str) -> Array:
    if len(texts) != prod(shape):
        raise MalformedRequest(f"{what}: {_has(shape)}, got {len(texts)}")
    strings = np.empty(len(texts), dtype=np.object_)
    strings[:] = texts
    return strings.reshape(shape)


def _has(shape: Sequence[int]) -> str:
    return f"{describe(Datatype.BYTES, tuple(shape))} has {prod(shape)} elements"


def _text(what: str, data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise _no_text(what, error) from None


def _no_text(what: str, error: UnicodeDecodeError) -> MalformedRequest:
    return MalformedRequest(f"{what}: BYTES are UTF-8 text here, byte {error.start} is not UTF-8")
