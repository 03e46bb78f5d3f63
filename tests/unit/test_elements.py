"""JSON elements become arrays and back: nothing wrapped, truncated or guessed."""

import sys
from typing import Any

import numpy as np
import pytest

from service.elements import decode, encode
from service.errors import MalformedRequest
from service.tensors import DATATYPES, Array, Datatype
from tests import tiny

NUMBERS = [name for name in tiny.DATATYPES if name not in ("BOOL", "BYTES")]
INTEGERS = [name for name in NUMBERS if "INT" in name]
FLOATS = [name for name in NUMBERS if name.startswith("FP")]


def bits(array: Array) -> tuple[Any, ...]:
    """All there is to an array, signed zeros included."""
    return array.dtype, array.shape, array.tolist() if array.dtype.hasobject else array.tobytes()


def refusal(datatype: str, shape: list[int], data: Any) -> str:
    with pytest.raises(MalformedRequest) as caught:
        decode("input 'x'", DATATYPES[datatype], shape, data)
    return str(caught.value)


@pytest.mark.parametrize("booleans", [True, False])
@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_become_the_datatype(datatype: str, booleans: bool) -> None:
    wanted = DATATYPES[datatype]
    extremes = np.finfo(wanted.numpy) if wanted.is_float else np.iinfo(wanted.numpy)
    values = np.array([[0, 1, extremes.max, extremes.min]], wanted.numpy)
    assert bits(decode("x", wanted, [1, 4], values.tolist(), booleans)) == bits(values)


@pytest.mark.parametrize(
    ("datatype", "data", "array"),
    [
        ("BOOL", [True, False, 1, 0], np.array([True, False, True, False])),
        ("BYTES", ["a", "", "zwölf"], np.array(["a", "", "zwölf"], np.object_)),
        ("FP32", [1, -0.0], np.array([1, -0.0], np.float32)),
        ("FP16", [0.1], np.array([0.1], np.float16)),
        ("INT8", [[[1, 2]], [[3, 4]]], np.array([1, 2, 3, 4], np.int8)),
        ("INT8", [], np.array([], np.int8)),
        ("BOOL", [[], []], np.array([], np.bool_)),
        ("BYTES", [], np.array([], np.object_)),
    ],
)
def test_elements_are_read_flat_or_nested(datatype: str, data: list[Any], array: Array) -> None:
    assert bits(decode("x", DATATYPES[datatype], array.shape, data)) == bits(array)


def test_the_shape_says_how_the_elements_lie() -> None:
    assert decode("x", Datatype.INT8, [2, 3], [1, 2, 3, 4, 5, 6]).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert decode("x", Datatype.INT8, [], [7]).shape == ()


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("side", ["min", "max"])
def test_an_integer_just_out_of_range_is_refused(datatype: str, side: str) -> None:
    limits = np.iinfo(DATATYPES[datatype].numpy)
    beyond = int(limits.max) + 1 if side == "max" else int(limits.min) - 1
    assert refusal(datatype, [2], [1, beyond]) == (
        f"input 'x': element 1 of 'data': expected an integer in the range of {datatype}, got {beyond}"
    )


@pytest.mark.parametrize(
    ("datatype", "value", "got"),
    [("FP16", 65520, "65520"), ("FP32", 3.5e38, "3.5e+38"), ("FP32", -1e39, "-1e+39")],
)
def test_a_number_that_overflows_is_refused(datatype: str, value: float, got: str) -> None:
    assert refusal(datatype, [1], [value]) == (
        f"input 'x': element 0 of 'data': expected a number in the range of {datatype}, got {got}"
    )


@pytest.mark.parametrize("datatype", FLOATS)
def test_an_integer_beyond_all_floats_is_refused(datatype: str) -> None:
    """No JSON has it; a model.toml may."""
    assert refusal(datatype, [1], [10**400]) == (
        f"input 'x': element 0 of 'data': expected a number in the range of {datatype}, got a number"
    )


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("1", "a string"),
        (None, "nothing"),
        ({}, "an object"),
        ([1], "an array"),
        (True, "true"),
        (False, "false"),
        (10**40, "a number"),
    ],
)
@pytest.mark.parametrize("datatype", INTEGERS)
def test_what_is_no_such_integer_is_refused(datatype: str, value: Any, got: str) -> None:
    assert refusal(datatype, [2], [1, value]) == (
        f"input 'x': element 1 of 'data': expected an integer in the range of {datatype}, got {got}"
    )


@pytest.mark.parametrize("datatype", INTEGERS)
def test_a_float_is_no_integer(datatype: str) -> None:
    assert refusal(datatype, [1], [1.0]).endswith(f"expected an integer in the range of {datatype}, got 1.0")


@pytest.mark.parametrize("datatype", FLOATS)
@pytest.mark.parametrize(("value", "got"), [("1", "a string"), (None, "nothing"), (True, "true")])
def test_what_is_no_number_is_refused(datatype: str, value: Any, got: str) -> None:
    assert refusal(datatype, [1], [value]) == (
        f"input 'x': element 0 of 'data': expected a number in the range of {datatype}, got {got}"
    )


@pytest.mark.parametrize(("value", "got"), [(2, "2"), (-1, "-1"), (300, "300"), (1.0, "1.0"), ("true", "a string")])
def test_a_boolean_is_true_or_false_or_a_bit(value: Any, got: str) -> None:
    assert refusal("BOOL", [2], [0, value]) == (
        f"input 'x': element 1 of 'data': expected true, false, 0 or 1, got {got}"
    )


@pytest.mark.parametrize(("value", "got"), [(1, "1"), (False, "false"), (None, "nothing"), (["a"], "an array")])
def test_text_is_a_string(value: Any, got: str) -> None:
    assert refusal("BYTES", [2], ["a", value]) == f"input 'x': element 1 of 'data': expected a string, got {got}"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (1, "input 'x': expected an array of elements in 'data', got a number"),
        ("12", "input 'x': expected an array of elements in 'data', got a string"),
        (None, "input 'x': expected an array of elements in 'data', got nothing"),
        (True, "input 'x': expected an array of elements in 'data', got a boolean"),
        ([1, 2, 3], "input 'x': INT8[1,2] has 2 elements, 'data' has 3"),
        ([[1], [2], [3]], "input 'x': INT8[1,2] has 2 elements, 'data' has 3"),
        ([], "input 'x': INT8[1,2] has 2 elements, 'data' has 0"),
        ([[1], [2, 3]], "input 'x': 'data' is ragged: arrays side by side must have the same length"),
        ([[1], 2], "input 'x': 'data' is ragged: arrays side by side must have the same length"),
        ([[[1]], [2]], "input 'x': 'data' is ragged: arrays side by side must have the same length"),
    ],
)
def test_data_of_another_form_is_refused(data: Any, sentence: str) -> None:
    assert refusal("INT8", [1, 2], data) == sentence


@pytest.mark.parametrize(
    ("array", "elements"),
    [
        (np.array([[1, 2], [3, 4]], np.int32), [1, 2, 3, 4]),
        (np.array([[1, 2], [3, 4]], np.int32).T, [1, 3, 2, 4]),
        (np.array(2.5, np.float64), [2.5]),
        (np.array([True]), [True]),
        (np.array([["a"], ["b"]], np.object_), ["a", "b"]),
        (np.array([], np.float32), []),
        (np.array([1, np.inf], np.float32), [1.0, float("inf")]),
    ],
)
def test_an_array_becomes_flat_elements(array: Array, elements: list[Any]) -> None:
    assert list(encode(array)) == elements


@pytest.mark.parametrize("numbers", [np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(6).reshape(2, 3).T])
def test_numbers_lie_as_the_codec_wants_them(numbers: Array) -> None:
    assert encode(numbers).flags.c_contiguous


def test_numbers_are_not_copied_on_their_way_out() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.shares_memory(encode(array), array)


@pytest.mark.parametrize(
    ("datatype", "right", "wrong", "got"),
    [
        ("FP32", 0.5, 1e39, "1e+39"),
        ("FP32", 1, True, "true"),
        ("FP16", 1, 65520, "65520"),
        ("INT8", 1, 300, "300"),
        ("BOOL", True, 2, "2"),
        ("BYTES", "a", 1, "1"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 63, 64, 65, 4_999, 99_998, 99_999])
def test_the_first_wrong_element_of_many_is_found(datatype: str, right: Any, wrong: Any, got: str, place: int) -> None:
    data = [right] * 100_000
    data[place] = data[-1] = wrong
    sentence = refusal(datatype, [100_000], data)
    assert sentence.startswith(f"input 'x': element {place} of 'data': expected ")
    assert sentence.endswith(f", got {got}")


def test_a_wrong_element_is_not_searched_for_one_by_one() -> None:
    """A million right ones in front of it cost thirty times what a million cost that are read."""
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        sentence = refusal("INT8", [1_000_001], [1] * 1_000_000 + [300])
    finally:
        sys.setprofile(None)
    assert sentence.startswith("input 'x': element 1000000 of 'data'")
    assert len(calls) < 10_000
