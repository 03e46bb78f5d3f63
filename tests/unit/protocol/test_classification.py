"""The classes of an output: which of them, in which order, and how they are written."""

from typing import Any

import numpy as np
import pytest

from service.errors import AnswerTooLarge, MalformedRequest
from service.protocol.classification import Classes, classes, has_classes
from service.tensors import Array, Datatype, TensorSpec

CATS = ("lion", "lynx", "ounce")
ENOUGH = 1000


def written(
    tensor: Any, most: int = 2, labels: tuple[str, ...] = (), batch: bool = True, kind: Any = np.float32
) -> Any:
    found = Classes(most, labels, batch).of(np.asarray(tensor, kind), ENOUGH)
    assert found.dtype == np.object_
    return found.tolist()


def test_each_row_has_its_greatest_numbers_first() -> None:
    assert written([[0.25, 0.5, 0.125], [-1, -3, -2]]) == [["0.5:1", "0.25:0"], ["-1.0:0", "-2.0:2"]]


def test_a_class_that_has_a_label_is_written_with_it() -> None:
    assert written([[0.25, 0.5, 0.125]], labels=CATS) == [["0.5:1:lynx", "0.25:0:lion"]]


def test_no_more_classes_come_than_there_are() -> None:
    assert written([[1, 2]], most=1000) == [["2.0:1", "1.0:0"]]


def test_of_equals_the_first_comes_first() -> None:
    assert written([[1, 7, 7, 7]], most=3) == [["7.0:1", "7.0:2", "7.0:3"]]


def test_what_is_no_number_comes_last() -> None:
    nan, inf = float("nan"), float("inf")
    assert written([[nan, -1e30, inf, -inf]], most=4) == [["inf:2", "-1e+30:1", "nan:0", "-inf:3"]]


@pytest.mark.parametrize(
    ("datatype", "row", "expected"),
    [
        (Datatype.UINT8, [0, 255, 1], "255:1"),
        (Datatype.UINT64, [0, 2**64 - 1, 2**63], "18446744073709551615:1"),
        (Datatype.INT64, [-(2**63), -(2**63) + 1, -(2**63)], "-9223372036854775807:1"),
        (Datatype.FP16, [0.1, 0.2, 0.1], "0.2:1"),
        (Datatype.FP32, [0.1, 0.99506813, 0], "0.99506813:1"),
        (Datatype.FP64, [0.1, 0.30000000000000004, 0.3], "0.30000000000000004:1"),
    ],
    ids=lambda value: value.name if isinstance(value, Datatype) else "",
)
def test_numbers_of_every_datatype_are_written_exactly(datatype: Datatype, row: list[Any], expected: str) -> None:
    assert written([row], most=1, kind=datatype.numpy) == [[expected]]


def test_the_smallest_floats_can_be_read_back() -> None:
    [[text]] = written([[1e-42, 0]], most=1)
    assert np.float32(text.split(":")[0]) == np.float32(1e-42)


def test_a_row_of_several_axes_is_looked_at_flat() -> None:
    """Its labels are those of the last axis."""
    row = [[1, 2, 3], [6, 5, 4]]
    assert written([row], most=3, labels=CATS) == [["6.0:3:lion", "5.0:4:lynx", "4.0:5:ounce"]]


@pytest.mark.parametrize(
    ("shape", "batch", "expected"),
    [
        ((2, 5), True, (2, 3)),
        ((2, 5, 5), True, (2, 3)),
        ((4,), True, (4, 1)),
        ((0, 5), True, (0, 0)),
        ((2, 0), True, (2, 0)),
        ((5,), False, (3,)),
        ((2, 5), False, (3,)),
        ((), False, (1,)),
        ((0,), False, (0,)),
    ],
)
def test_classes_have_a_shape(shape: tuple[int, ...], batch: bool, expected: tuple[int, ...]) -> None:
    tensor: Array = np.zeros(shape, np.float32)
    assert Classes(3, (), batch).of(tensor, ENOUGH).shape == expected


def test_no_more_texts_are_made_than_is_harmless() -> None:
    tensor = np.zeros((5, 4), np.float32)
    assert Classes(3, (), batch=True).of(tensor, 15).size == 15
    assert Classes(1000, (), batch=True).of(tensor, 20).size == 20
    with pytest.raises(AnswerTooLarge) as raised:
        Classes(1000, (), batch=True).of(tensor, 19)
    assert str(raised.value) == (
        "the answer would have 20 classes, of which at most 19 are written; ask for fewer classes or rows"
    )


@pytest.mark.parametrize("datatype", Datatype)
def test_only_numbers_have_classes(datatype: Datatype) -> None:
    spec = TensorSpec("y", datatype, (-1, 3), labels=CATS)
    if has_classes(spec):
        assert classes(spec, 2, batch=True) == Classes(2, CATS, True)
        return
    assert datatype in (Datatype.BOOL, Datatype.BYTES)
    with pytest.raises(MalformedRequest) as raised:
        classes(spec, 2, batch=True)
    assert str(raised.value) == (
        f"output 'y': 'parameters.classification': expected an output of numbers, it is {datatype.name}[-1,3]"
    )
