"""Datatypes, and tensors held against a signature."""

from collections.abc import Sequence

import numpy as np
import pytest

from service.errors import SignatureMismatch
from service.tensors import (
    DATATYPES,
    Array,
    Datatype,
    Signature,
    TensorSpec,
    datatype_of,
    describe,
    quote,
)
from tests import tiny
from tests.oip import NUMPY_TYPES


def fp32(name: str, shape: tuple[int, ...] | None, *names: str) -> TensorSpec:
    return TensorSpec(name, Datatype.FP32, shape, names)


def zeros(*shape: int, dtype: type = np.float32) -> Array:
    return np.zeros(shape, dtype)


X = fp32("x", (-1, 2), "batch", "")
Y = fp32("y", (-1,), "rows")
PAIR = Signature((X, fp32("z", (-1, -1), "batch", "")), (Y, fp32("other", None)))


def test_the_datatypes_are_those_of_the_protocol() -> None:
    assert tuple(DATATYPES) == tiny.DATATYPES


@pytest.mark.parametrize(("name", "numpy"), [*NUMPY_TYPES.items(), ("BYTES", "O")])
def test_a_datatype_is_one_numpy_type(name: str, numpy: str) -> None:
    datatype, dtype = DATATYPES[name], np.dtype(numpy)
    size = 0 if name == "BYTES" else dtype.itemsize
    facts = (datatype.numpy, datatype.size, datatype.is_integer, datatype.is_float)
    assert facts == (dtype, size, "INT" in name, name.startswith("FP"))
    assert datatype_of(np.empty(1, dtype)) is datatype


@pytest.mark.parametrize(
    ("shape", "text", "public"),
    [((-1, 64), "FP32[-1,64]", [-1, 64]), ((), "FP32[]", []), (None, "FP32[...]", [-1])],
)
def test_a_spec_reads_as_the_protocol_writes_it(shape: tuple[int, ...] | None, text: str, public: list[int]) -> None:
    spec = fp32("x", shape)
    assert (str(spec), describe(spec.datatype, shape), spec.public_shape) == (text, text, public)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], "none"),
        (["a"], "'a'"),
        (["a", "b"], "'a', 'b'"),
        (["a" * 98], f"'{'a' * 98}'"),
        (["a" * 99], f"'{'a' * 96}..."),
        (["\U000e0001" * 98], "'" + r"\U000e0001" * 9 + r"\U000e..."),
        (["a"] * 10, "'a'" + ", 'a'" * 9),
        (["a"] * 100, "'a'" + ", 'a'" * 9 + " and 90 more"),
    ],
)
def test_names_are_quoted(names: list[str], text: str) -> None:
    assert quote(names) == text


@pytest.mark.parametrize(
    ("inputs", "outputs", "first_axes"),
    [
        ([("n", "")], [("", "")], ["n", "n"]),
        ([("", ""), ("", "m")], [("", "")], ["batch", "batch", "batch"]),
        ([("n", "")], [("n", "m"), ("", "")], ["n", "n", "n"]),
    ],
)
def test_free_first_dimensions_are_the_batch_axis(
    inputs: list[tuple[str, str]], outputs: list[tuple[str, str]], first_axes: list[str]
) -> None:
    signature = Signature(
        tuple(fp32(f"x{index}", (-1, -1), *names) for index, names in enumerate(inputs)),
        tuple(fp32(f"y{index}", (-1, -1), *names) for index, names in enumerate(outputs)),
    )
    batched = signature.with_batch_axis()
    specs = (*batched.inputs, *batched.outputs)
    assert batched.batch
    assert [spec.names for spec in specs] == [
        (first, names[1]) for first, names in zip(first_axes, [*inputs, *outputs], strict=True)
    ]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        pytest.param([X], [Y], id="two names"),
        pytest.param([X], [fp32("y", (3,), "")], id="a fixed dimension"),
        pytest.param([X], [fp32("y", ())], id="a scalar"),
        pytest.param([X], [fp32("y", None)], id="an open rank"),
        pytest.param([], [Y], id="no input"),
    ],
)
def test_without_a_common_free_dimension_there_is_no_batch_axis(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    signature = Signature(tuple(inputs), tuple(outputs))
    assert signature.with_batch_axis() == signature


@pytest.mark.parametrize(
    ("inputs", "outputs", "obstacle"),
    [
        ([X], [Y], "the first dimensions have different names: batch, rows"),
        (
            [X],
            [fp32("y", (1,), "")],
            "the first dimension of every input is free, that of output 'y' is not: FP32[1]",
        ),
        ([X], [fp32("y", ())], "the first dimension of every input is free, that of output 'y' is not: FP32[]"),
        ([fp32("x", (1, 2), "", "")], [Y], ""),
        ([], [Y], ""),
    ],
)
def test_what_keeps_a_signature_from_having_a_batch_axis_is_told(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], obstacle: str
) -> None:
    assert Signature(tuple(inputs), tuple(outputs)).with_batch_axis().batch_obstacle() == obstacle


def test_nothing_keeps_one_that_has_it() -> None:
    assert Signature((X,), (fp32("y", (-1,), "batch"),)).with_batch_axis().batch_obstacle() == ""


def test_a_batch_axis_changes_nothing_else() -> None:
    labelled = TensorSpec("y", Datatype.INT64, (-1, 2), ("", "k"), ("no", "yes"))
    batched = Signature((X,), (labelled,)).with_batch_axis()
    assert batched == Signature(
        (X,), (TensorSpec("y", Datatype.INT64, (-1, 2), ("batch", "k"), ("no", "yes")),), batch=True
    )


@pytest.mark.parametrize(
    ("names", "selected"), [([], ["y", "other"]), (["other"], ["other"]), (["other", "y"], ["other", "y"])]
)
def test_outputs_come_in_the_order_asked_for(names: list[str], selected: list[str]) -> None:
    assert [spec.name for spec in PAIR.select(names)] == selected
    assert PAIR.output_names == ["y", "other"]


def test_unknown_outputs_are_named_with_the_known_ones() -> None:
    with pytest.raises(SignatureMismatch) as caught:
        PAIR.select(["a", "y", "b"])
    assert str(caught.value) == "unknown outputs 'a', 'b': the model has 'y', 'other'"


@pytest.mark.parametrize(
    ("signature", "tensors", "rows"),
    [
        (PAIR, {"x": zeros(3, 2), "z": zeros(3, 9)}, 1),
        (Signature((X,), (Y,), batch=True), {"x": zeros(3, 2)}, 3),
        (Signature((X,), (Y,), batch=True), {"x": zeros(0, 2)}, 0),
        (Signature((fp32("x", None),), (Y,)), {"x": zeros(1, 2, 3)}, 1),
        (Signature((fp32("x", ()),), (Y,)), {"x": zeros()}, 1),
        (Signature((), (Y,)), {}, 1),
    ],
)
def test_tensors_that_fit_are_counted_in_rows(signature: Signature, tensors: dict[str, Array], rows: int) -> None:
    assert signature.check(tensors) == rows


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"x": zeros(1, 2)}, "inputs: expected 'x', 'z', got 'x': missing 'z'"),
        ({}, "inputs: expected 'x', 'z', got none: missing 'x', 'z'"),
        (
            {"x": zeros(1, 2), "a": zeros(1), "z": zeros(1, 1)},
            "inputs: expected 'x', 'z', got 'x', 'a', 'z': unknown 'a'",
        ),
        ({"a": zeros(1), "x": zeros(1)}, "inputs: expected 'x', 'z', got 'a', 'x': missing 'z', unknown 'a'"),
        ({"x": zeros(1, 3), "z": zeros(1, 1)}, "input 'x': expected FP32[-1,2], got FP32[1,3]"),
        ({"x": zeros(2), "z": zeros(1, 1)}, "input 'x': expected FP32[-1,2], got FP32[2]"),
        ({"x": zeros(), "z": zeros(1, 1)}, "input 'x': expected FP32[-1,2], got FP32[]"),
        ({"x": zeros(1, 2), "z": zeros(1, 1, dtype=np.int64)}, "input 'z': expected FP32[-1,-1], got INT64[1,1]"),
        (
            {"x": zeros(3, 2), "z": zeros(4, 2)},
            "inputs 'x' and 'z' disagree about dimension 'batch': 3 and 4",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused_with_both_sides(tensors: dict[str, Array], sentence: str) -> None:
    with pytest.raises(SignatureMismatch) as caught:
        PAIR.check(tensors)
    assert str(caught.value) == sentence


def test_one_input_may_disagree_with_itself() -> None:
    square = Signature((fp32("x", (-1, -1), "n", "n"),), ())
    assert square.check({"x": zeros(2, 2)}) == 1
    with pytest.raises(SignatureMismatch) as caught:
        square.check({"x": zeros(2, 3)})
    assert str(caught.value) == "inputs 'x' and 'x' disagree about dimension 'n': 2 and 3"
