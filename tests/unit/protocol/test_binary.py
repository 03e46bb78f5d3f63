"""Tensors as raw bytes: what is copied, what is viewed, and the sentences of the refusals."""

import numpy as np
import pytest

from service.errors import MalformedRequest
from service.protocol.binary import decode, decode_raw, encode
from service.tensors import DATATYPES, Array, Datatype, Signature, TensorSpec
from tests.oip import NUMPY_TYPES, length_prefixed

WIDE = [name for name, numpy in NUMPY_TYPES.items() if np.dtype(numpy).itemsize > 1]


def at(offset: int, blob: bytes) -> memoryview:
    """The same bytes, so far from an address that any datatype likes."""
    place = np.zeros(len(blob) + 16, np.uint8)
    start = -place.ctypes.data % 16 + offset
    place[start : start + len(blob)] = np.frombuffer(blob, np.uint8)
    return memoryview(place.data)[start : start + len(blob)]


def spec(datatype: Datatype, shape: tuple[int, ...] | None) -> Signature:
    return Signature((TensorSpec("x", datatype, shape),), ())


def refusal(datatype: Datatype, shape: tuple[int, ...], blob: bytes) -> str:
    with pytest.raises(MalformedRequest) as caught:
        decode("input 'x'", datatype, shape, memoryview(blob))
    return str(caught.value)


def raw_refusal(signature: Signature, body: bytes) -> str:
    with pytest.raises(MalformedRequest) as caught:
        decode_raw(signature, memoryview(body))
    return str(caught.value)


@pytest.mark.parametrize("datatype", NUMPY_TYPES)
def test_aligned_bytes_are_viewed_and_not_copied(datatype: str) -> None:
    values = np.array([[0, 1], [1, 0]], NUMPY_TYPES[datatype])
    blob = at(0, values.tobytes())
    tensor = decode("x", DATATYPES[datatype], (2, 2), blob)
    assert (tensor.dtype, tensor.tolist()) == (values.dtype, values.tolist())
    assert np.shares_memory(tensor, np.frombuffer(blob, np.uint8))


@pytest.mark.parametrize("datatype", WIDE)
def test_bytes_that_are_not_aligned_are_copied_to_where_they_are(datatype: str) -> None:
    values = np.array([0, 1, 2], NUMPY_TYPES[datatype])
    blob = at(1, values.tobytes())
    tensor = decode("x", DATATYPES[datatype], (3,), blob)
    assert tensor.flags.aligned
    assert tensor.tolist() == values.tolist()
    assert not np.shares_memory(tensor, np.frombuffer(blob, np.uint8))


@pytest.mark.parametrize(
    ("array", "blob"),
    [
        (np.array([[1, 2], [3, 4]], np.uint8).T, b"\1\3\2\4"),
        (np.array(258, np.int16), b"\2\1"),
        (np.array([True, False]), b"\1\0"),
        (np.array([], np.float64), b""),
        (np.array([["a"], ["zwölf"], [""]], np.object_), length_prefixed(b"a", "zwölf".encode(), b"")),
        (np.array([], np.object_), b""),
    ],
)
def test_a_tensor_is_written_row_by_row(array: Array, blob: bytes) -> None:
    assert encode(array) == blob
    again = decode("x", Datatype(array.dtype), array.shape, memoryview(blob))
    assert (again.dtype, again.shape, again.tolist()) == (array.dtype, array.shape, array.tolist())


@pytest.mark.parametrize(
    ("datatype", "shape", "blob", "sentence"),
    [
        (Datatype.INT32, (2,), b"1234567", "INT32[2] takes 8 bytes, got 7"),
        (Datatype.FP64, (), b"", "FP64[] takes 8 bytes, got 0"),
        (Datatype.BOOL, (2,), b"\0\7", "expected the bytes 0 and 1 for BOOL, got 7"),
        (Datatype.BYTES, (2,), length_prefixed(b"a"), "BYTES[2] has 2 elements, got 1"),
        (Datatype.BYTES, (0,), length_prefixed(b"a"), "BYTES[0] has 0 elements, 5 bytes are left over behind them"),
        (
            Datatype.BYTES,
            (1,),
            length_prefixed(b"a", b"\xff") + b"\xff",
            "BYTES[1] has 1 elements, 6 bytes are left over behind them",
        ),
        (Datatype.BYTES, (1,), b"\1\0\0", "3 bytes at the end are too few for a length"),
        (Datatype.BYTES, (2,), length_prefixed(b"a") + b"\0", "1 bytes at the end are too few for a length"),
        (
            Datatype.BYTES,
            (2,),
            length_prefixed(b"a") + b"\3\0\0\0ab",
            "element 1 says it has 3 bytes, 2 are left",
        ),
        (
            Datatype.BYTES,
            (2,),
            length_prefixed(b"a", b"b\xff"),
            "element 1: BYTES are UTF-8 text here, byte 1 is not UTF-8",
        ),
    ],
)
def test_bytes_that_are_no_such_tensor_are_refused(
    datatype: Datatype, shape: tuple[int, ...], blob: bytes, sentence: str
) -> None:
    assert refusal(datatype, shape, blob).removeprefix("input 'x': ") == sentence


@pytest.mark.parametrize(
    ("shape", "size", "deduced"),
    [
        ((-1, 2), 16, (2, 2)),
        ((-1, 2), 0, (0, 2)),
        ((-1, -1), 12, (1, 3)),
        ((-1, 2, -1), 8, (1, 2, 1)),
        ((2, -1), 16, (2, 2)),
        ((2,), 8, (2,)),
        ((), 4, ()),
        (None, 12, (3,)),
    ],
)
def test_the_last_free_dimension_of_a_raw_body_is_deduced(
    shape: tuple[int, ...] | None, size: int, deduced: tuple[int, ...]
) -> None:
    name, tensor = decode_raw(spec(Datatype.FP32, shape), at(0, bytes(size)))
    assert (name, tensor.dtype, tensor.shape) == ("x", np.dtype(np.float32), deduced)


@pytest.mark.parametrize(
    ("shape", "deduced"), [((-1, 1), (1, 1)), ((1,), (1,)), ((), ()), (None, (1,)), ((-1, -1), (1, 1))]
)
def test_a_raw_body_of_text_is_one_element(shape: tuple[int, ...] | None, deduced: tuple[int, ...]) -> None:
    name, tensor = decode_raw(spec(Datatype.BYTES, shape), memoryview("zwölf".encode()))
    assert (name, tensor.shape, tensor.reshape(-1).tolist()) == ("x", deduced, ["zwölf"])


@pytest.mark.parametrize(
    ("signature", "body", "sentence"),
    [
        (
            Signature((TensorSpec("a", Datatype.FP32, (1,)), TensorSpec("b", Datatype.FP32, (1,))), ()),
            b"",
            "a raw request can only carry one input; the model has 'a', 'b'",
        ),
        (
            spec(Datatype.FP32, (-1, 2)),
            bytes(12),
            "input 'x': expected a multiple of 8 bytes for FP32[-1,2], got 12",
        ),
        (
            spec(Datatype.FP32, (-1, 0)),
            bytes(4),
            "input 'x': expected a multiple of 0 bytes for FP32[-1,0], got 4",
        ),
        (spec(Datatype.FP32, (2,)), bytes(4), "input 'x': FP32[2] takes 8 bytes, got 4"),
        (spec(Datatype.BYTES, (2,)), b"ab", "input 'x': BYTES[2] has 2 elements, got 1"),
        (spec(Datatype.BYTES, (1,)), b"\xff", "input 'x': BYTES are UTF-8 text here, byte 0 is not UTF-8"),
    ],
)
def test_a_raw_body_that_is_no_such_input_is_refused(signature: Signature, body: bytes, sentence: str) -> None:
    assert raw_refusal(signature, body) == sentence
