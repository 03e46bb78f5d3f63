"""How large a tensor is in an answer: bounds hold, and the exact figure is exact."""

import numpy as np
import orjson
import pytest

from service import elements
from service.protocol import binary, size
from service.tensors import Array

ENOUGH = 1 << 40
TENSORS = {
    "bools": np.array([True, False]),
    "bytes": np.array([[0, 255]], np.uint8),
    "integers": np.array([-(2**63), 2**63 - 1]),
    "floats": np.array([-1.7976931348623157e308, 5e-324, np.nan, -np.inf]),
    "narrow floats": np.array([-3.4028235e38, 1.1754944e-38], np.float32),
    "half floats": np.array([65504, -6e-8], np.float16),
    "not contiguous": np.arange(6.0).reshape(2, 3).T,
    "strings": np.array(["", "a", "\0\x1f", '"\\', "zwölf", "\U0001f600"], np.object_),
    "nothing": np.zeros((0, 3), np.float32),
    "no string": np.zeros(0, np.object_),
    "many": np.arange(200_000) / 3,
    "many strings": np.array(list(map(str, range(70_000))), np.object_),
}


def written(tensor: Array, is_binary: bool) -> int:
    if is_binary:
        return len(binary.encode(tensor))
    return len(orjson.dumps(elements.encode(tensor), option=orjson.OPT_SERIALIZE_NUMPY)) - 1


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_a_tensor_is_as_large_as_it_is_written(tensor: Array, is_binary: bool) -> None:
    length = written(tensor, is_binary) if tensor.size else 0
    assert size.exactly(tensor, is_binary, ENOUGH) == length
    assert size.at_most(tensor, is_binary) >= length


@pytest.mark.parametrize("name", ["many", "many strings"])
def test_no_more_is_written_than_shows_that_it_is_too_much(name: str) -> None:
    tensor = TENSORS[name]
    assert 1000 < size.exactly(tensor, False, 1000) < written(tensor, False)


TEXT = np.array(["a" * 1000] * 43, np.object_)


@pytest.mark.parametrize(
    ("tensor", "json", "binary"),
    [
        (np.zeros(16 << 10), False, False),
        (np.zeros((16 << 10) + 1), True, False),
        (np.zeros(4 << 20, np.uint8), True, False),
        (np.zeros((4 << 20) + 1, np.uint8), True, True),
        (TEXT, False, False),
        (np.tile(TEXT, 2), True, True),
        (np.array([""] * (16 << 10), np.object_), False, False),
        (np.array([""] * ((16 << 10) + 1), np.object_), True, True),
    ],
)
def test_what_takes_long_to_write_is_known(tensor: Array, json: bool, binary: bool) -> None:
    assert (size.is_long(tensor, False), size.is_long(tensor, True)) == (json, binary)
