"""The rows of several requests as one set of tensors, and back."""

import numpy as np
import pytest

from service.engine.batch import join, repeat, split
from service.tensors import Array, Tensors


def rows(*values: int) -> Array:
    """One column; each row is its value."""
    return np.array(values, np.int64).reshape(-1, 1)


def words(*values: str) -> Array:
    return np.array(values, np.object_)


def test_requests_are_stacked_in_their_order() -> None:
    requests = [{"a": rows(1, 2), "b": words("x", "y")}, {"b": words(), "a": rows()}, {"a": rows(3), "b": words("z")}]
    joined = join(requests)
    assert {name: tensor.tolist() for name, tensor in joined.items()} == {"a": [[1], [2], [3]], "b": ["x", "y", "z"]}
    assert {name: tensor.dtype for name, tensor in joined.items()} == {"a": np.dtype("int64"), "b": np.dtype("O")}


def test_a_request_alone_is_not_copied() -> None:
    request: Tensors = {"a": rows(1, 2)}
    assert join([request]) is request


@pytest.mark.parametrize(
    ("counts", "parts"),
    [
        ([3], [[1, 2, 3]]),
        ([1, 2], [[1], [2, 3]]),
        ([1, 1, 1], [[1], [2], [3]]),
        ([0, 3, 0], [[], [1, 2, 3], []]),
    ],
)
def test_outputs_are_cut_into_the_requests_they_came_from(counts: list[int], parts: list[list[int]]) -> None:
    outputs = [np.array([1, 2, 3]), np.array([[10], [20], [30]])]
    assert [[output.tolist() for output in result] for result in split(outputs, counts)] == [
        [part, [[10 * value] for value in part]] for part in parts
    ]


@pytest.mark.parametrize("counts", [[3], [1, 2]])
def test_cutting_copies_nothing(counts: list[int]) -> None:
    output = np.array([1, 2, 3])
    assert [np.shares_memory(part, output) for [part] in split([output], counts)] == [True] * len(counts)


@pytest.mark.parametrize("lengths", [[2, 3], [3, 4], [0, 0]])
def test_outputs_that_have_not_the_rows_that_went_in_are_nobodys(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=f"^3 rows went in, {lengths[0]}, {lengths[1]} came out$"):
        split([np.ones(length) for length in lengths], [1, 2])


def test_a_request_alone_gets_whatever_comes_out() -> None:
    output = np.ones(5)
    assert split([output], [2]) == [[output]]


def test_a_model_without_outputs_has_none_for_each_request() -> None:
    assert split([], [1, 2]) == [[], []]


@pytest.mark.parametrize(("times", "repeated"), [(1, [1, 2]), (2, [1, 2, 1, 2]), (3, [1, 2, 1, 2, 1, 2])])
def test_rows_are_repeated_one_after_another(times: int, repeated: list[int]) -> None:
    assert repeat({"a": np.array([1, 2])}, times)["a"].tolist() == repeated


def test_rows_that_are_wanted_once_are_not_copied() -> None:
    request: Tensors = {"a": rows(1, 2)}
    assert repeat(request, 1) is request
