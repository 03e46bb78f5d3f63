"""Many numbers are read of rows and columns as they are of tensors: they are no values that are counted."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from service.errors import CallerError, MalformedRequest, SignatureMismatch
from service.knobs import Limits
from service.protocol import large, lines, v1
from service.tensors import Datatype, Signature, TensorSpec

LIMITS = Limits()
# As few values as anybody may set.
FEW = Limits(values=1024)


def spec(name: str, datatype: Datatype, *shape: int) -> TensorSpec:
    return TensorSpec(name, datatype, shape, ("",) * len(shape))


def model(*inputs: TensorSpec, batch: bool = True) -> Signature:
    return Signature(inputs, (), batch=batch)


def image(*shape: int) -> Any:
    size = int(np.prod(shape))
    return np.linspace(0, 1, size, dtype=np.float32).reshape(shape).tolist()


IMAGES = model(spec("image", Datatype.FP32, -1, 3, 30, -1))
COLUMN = model(spec("x", Datatype.INT64, -1, 1))
PERSON = model(
    spec("photo", Datatype.UINT8, -1, 40, 40),
    spec("age", Datatype.INT64, -1),
    spec("name", Datatype.BYTES, -1, 1),
    spec("sizes", Datatype.FP64, -1, -1),
    spec("flags", Datatype.BOOL, -1, 3),
)
BOB: Any = {
    "photo": np.full((40, 40), 255).tolist(),
    "age": 42,
    "name": ["Bob"],
    "sizes": [1, 2.5],
    "flags": [True, 0, 1],
}
BOBS: Any = {"photo": [BOB["photo"]] * 20, "age": [1, 2] * 10, "name": [["a"], ["b"]] * 10, "sizes": [[1], [2]] * 10}
WHOLE = model(spec("x", Datatype.FP64, -1, 30), batch=False)
TEXTS = model(spec("text", Datatype.BYTES, -1, -1))


def text(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def told(asked: v1.Columns) -> Any:
    inputs = {name: (str(each.dtype), each.shape, each.tolist()) for name, each in asked.inputs.items()}
    return inputs, asked.by_row, asked.timeout, asked.priority


def refusal(signature: Signature, document: Any, limits: Limits = FEW) -> tuple[type[CallerError], str]:
    with pytest.raises(CallerError) as caught:
        v1.decode(text(document), signature, limits)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("signature", "document"),
    [
        pytest.param(IMAGES, {"instances": image(8, 3, 30, 30)}, id="bare rows"),
        pytest.param(IMAGES, {"instances": [{"image": image(3, 30, 20)}] * 8}, id="named rows"),
        pytest.param(IMAGES, {"inputs": image(8, 3, 30, 30)}, id="a bare column"),
        pytest.param(IMAGES, {"inputs": {"image": image(8, 3, 30, 30)}}, id="a named column"),
        pytest.param(PERSON, {"instances": [BOB, BOB | {"name": ["Eve"]}] * 10}, id="rows of several inputs"),
        pytest.param(PERSON, {"inputs": BOBS | {"flags": [[0, 1, True]] * 20}}, id="columns of several inputs"),
        pytest.param(COLUMN, {"instances": list(range(20_000))}, id="rows without a last dimension"),
        pytest.param(WHOLE, {"inputs": image(400, 30)}, id="no rows"),
        pytest.param(
            IMAGES,
            {"parameters": {"timeout": 5_000_000, "priority": 3}, "instances": image(8, 3, 30, 30), "x": [[1], {}]},
            id="more than that",
        ),
    ],
)
def test_as_many_numbers_as_there_are_in_rows_and_columns_are_read(signature: Signature, document: Any) -> None:
    assert large.parse_rows(text(document), FEW)
    assert told(v1.decode(text(document), signature, FEW)) == told(v1.decode(text(document), signature, LIMITS))


@pytest.mark.parametrize("row", [image(3, 30, 50), {"image": image(3, 30, 50)}])
def test_a_row_in_a_line_by_itself_is_read_in_the_same_way(row: Any) -> None:
    assert large.parse_row(text(row), FEW)
    assert told(lines.decode(text(row), IMAGES, FEW)) == told(lines.decode(text(row), IMAGES, LIMITS))


def test_a_model_without_rows_takes_what_would_be_its_inputs_in_a_line() -> None:
    assert told(lines.decode(text(image(400, 30)), WHOLE, FEW)) == told(
        lines.decode(text(image(400, 30)), WHOLE, LIMITS)
    )


@pytest.mark.parametrize(
    ("signature", "document", "error", "sentence"),
    [
        (
            IMAGES,
            {"instances": image(8, 3, 29, 30)},
            SignatureMismatch,
            "input 'image': expected FP32[-1,3,30,-1], got FP32[8,3,29,30]",
        ),
        (
            IMAGES,
            {"instances": [{"image": image(3, 30, 50)}, {"image": image(3, 30, 20)}]},
            MalformedRequest,
            "input 'image': rows 0 and 1 differ in shape: send rows that differ in requests of their own",
        ),
        (
            IMAGES,
            {"instances": [{"image": image(3, 30, 50)}, {"image": 7}]},
            MalformedRequest,
            "input 'image': rows 0 and 1 differ in shape: send rows that differ in requests of their own",
        ),
        (
            IMAGES,
            {"instances": [{"image": image(3, 30, 50)}, {"picture": image(3, 30, 50)}]},
            MalformedRequest,
            'instances[1]: expected an object with \'image\', got {"picture":"[...]"}',
        ),
        (
            IMAGES,
            {"instances": [{"image": image(3, 30, 50)}, image(3, 30, 50)]},
            MalformedRequest,
            "instances[1]: expected an object with 'image', got \"[...]\"",
        ),
        (
            IMAGES,
            {"inputs": {"image": [[[["a"] * 800] * 30] * 3]}},
            MalformedRequest,
            "input 'image': expected all elements in the range of FP32, got others among them",
        ),
        (
            IMAGES,
            {"inputs": {"image": {"a": image(3, 30, 50)}}},
            MalformedRequest,
            "input 'image': element 0 of 'data': expected a number in the range of FP32, got an object",
        ),
        (
            PERSON,
            {"instances": image(8, 3, 30, 30)},
            MalformedRequest,
            "instances[0]: expected an object with 'photo', 'age', 'name', 'sizes', 'flags', got \"[...]\"",
        ),
        (
            PERSON,
            {"inputs": image(8, 3, 30, 30)},
            MalformedRequest,
            "'inputs': expected an object, got \"[...]\"",
        ),
        (
            WHOLE,
            {"instances": image(400, 30)},
            MalformedRequest,
            "'instances': the model has no batch axis, and so no rows; send 'inputs'",
        ),
        (
            TEXTS,
            {"instances": [{"text": ["a"] * 20_000}] * 2},
            MalformedRequest,
            "input 'text': 'shape': expected at most 1024 elements, got [2,20000]",
        ),
    ],
)
def test_what_is_wrong_with_many_numbers_is_told(
    signature: Signature, document: Any, error: type[CallerError], sentence: str
) -> None:
    assert refusal(signature, document) == (error, sentence)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"instances": [[1] * 40_000, [1] * 40_001]}, id="ragged"),
        pytest.param({"instances": [1] * 40_000 + [[1]]}, id="an array among numbers"),
        pytest.param({"instances": [{"image": [1]}] + [1] * 40_000}, id="numbers behind an object"),
        pytest.param({"instances": {"x": [1] * 40_000}, "x": {"b64": ""}}, id="what may be coded"),
        pytest.param({"instances": [[]] * 40_000}, id="arrays"),
        pytest.param({"instances": [2**70] * 40_000}, id="integers of more than 64 bits"),
    ],
)
def test_whatever_else_there_is_much_of_is_counted(document: Any) -> None:
    kind, sentence = refusal(IMAGES, document)
    assert kind is MalformedRequest
    assert sentence.endswith("values, of which at most 1024 are read; send fewer rows at a time")


def test_numbers_behind_an_array_do_not_become_objects() -> None:
    """There may be sixteen million of them in a body that is refused."""
    ragged = text({"instances": [[1]] + [999] * 400_000})
    tracemalloc.start()
    try:
        assert large.parse_rows(ragged, FEW) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(ragged)


def test_the_depth_of_many_numbers_is_as_that_of_few() -> None:
    for depth, is_read in ((7, True), (8, False)):
        nested = "[" * (depth - 1) + ",".join(["1"] * 40_000) + "]" * (depth - 1)
        read = large.parse_rows(b'{"inputs":[' + nested.encode() + b"]}", Limits(values=1024, json_depth=8))
        assert (read is not None) == is_read
    deep = b'{"instances":[{"x":' + b"[" * 5 + b"1," * 40_000 + b"1" + b"]" * 5 + b"}]}"
    assert large.parse_rows(deep, Limits(values=1024, json_depth=8))
    assert (
        large.parse_rows(
            deep.replace(b"[" * 5, b"[" * 6).replace(b"]" * 5, b"]" * 6), FEW.model_copy(update={"json_depth": 8})
        )
        is None
    )
