"""The typed endpoint's requests: rows and columns become tensors, and what is wrong is told by its path."""

import json
from math import inf
from typing import Any

import pytest

from service.errors import CallerError, MalformedRequest, SignatureMismatch
from service.knobs import Limits
from service.protocol import v1
from service.protocol.document import weight
from service.tensors import Datatype, Signature, TensorSpec

LIMITS = Limits()


def spec(name: str, datatype: Datatype, *shape: int) -> TensorSpec:
    return TensorSpec(name, datatype, shape, ("",) * len(shape))


def model(*inputs: TensorSpec, batch: bool = True) -> Signature:
    return Signature(inputs, (), batch=batch)


IMAGE = model(spec("image", Datatype.FP32, -1, 3))
PERSON = model(
    spec("age", Datatype.INT64, -1, 1), spec("name", Datatype.BYTES, -1, 1), spec("x.1", Datatype.FP32, -1, 2)
)
TEXT = model(spec("text", Datatype.BYTES, -1))
IDS = model(spec("ids", Datatype.INT64, -1, -1))
FLAGS = model(spec("flags", Datatype.BOOL, -1, 2))
BYTE = model(spec("byte", Datatype.INT8, -1))
SCALAR = model(spec("x", Datatype.FP64), batch=False)
PAIR = model(spec("a", Datatype.FP32, -1), spec("b", Datatype.FP32, -1), batch=False)
ANY = model(TensorSpec("x", Datatype.FP32, None), batch=False)
OPEN = model(TensorSpec("x", Datatype.BYTES, None), batch=False)
NAMED = model(*(TensorSpec(name, Datatype.FP32, (-1,), ("batch",)) for name in "ab"))
NOTHING = model(batch=False)
BOB: Any = {"age": 42, "name": "Bob", "x.1": [1, 2.5]}


def decode(signature: Signature, limits: Limits = LIMITS, **document: Any) -> v1.Columns:
    return v1.decode(json.dumps(document).encode(), signature, limits)


def told(asked: v1.Columns) -> dict[str, tuple[str, list[int], Any]]:
    """By input: its type, its shape, its elements."""
    return {name: (str(tensor.dtype), list(tensor.shape), tensor.tolist()) for name, tensor in asked.inputs.items()}


def refusal(signature: Signature, **document: Any) -> tuple[type[CallerError], str]:
    with pytest.raises(CallerError) as caught:
        decode(signature, **document)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("signature", "rows", "inputs"),
    [
        pytest.param(IMAGE, [[1, 2, 3], [4, 5, 6]], {"image": ("float32", [2, 3], [[1, 2, 3], [4, 5, 6]])}, id="bare"),
        pytest.param(IMAGE, [{"image": [1, 2, 3]}], {"image": ("float32", [1, 3], [[1, 2, 3]])}, id="named"),
        pytest.param(IMAGE, [], {"image": ("float32", [0, 3], [])}, id="no rows"),
        pytest.param(IDS, [], {"ids": ("int64", [0, 1], [])}, id="no rows of any length"),
        pytest.param(IDS, [[], []], {"ids": ("int64", [2, 0], [[], []])}, id="empty rows"),
        pytest.param(
            PERSON,
            [BOB, BOB],
            {
                "age": ("int64", [2, 1], [[42], [42]]),
                "name": ("object", [2, 1], [["Bob"], ["Bob"]]),
                "x.1": ("float32", [2, 2], [[1, 2.5], [1, 2.5]]),
            },
            id="several inputs, and single values where the model has arrays of one",
        ),
        pytest.param(
            PERSON,
            [{"x.1": [1, 2], "name": ["Bob"], "age": [42]}],
            {
                "age": ("int64", [1, 1], [[42]]),
                "name": ("object", [1, 1], [["Bob"]]),
                "x.1": ("float32", [1, 2], [[1, 2]]),
            },
            id="arrays of one as the model has them, in any order",
        ),
        pytest.param(
            TEXT, ["a", {"b64": "w7xi"}, "b64"], {"text": ("object", [3], ["a", "üb", "b64"])}, id="text in base64"
        ),
        pytest.param(TEXT, [{"b64": ""}], {"text": ("object", [1], [""])}, id="first in base64"),
        pytest.param(TEXT, [{"text": {"b64": "YQ=="}}], {"text": ("object", [1], ["a"])}, id="named in base64"),
        pytest.param(FLAGS, [[True, 0]], {"flags": ("bool", [1, 2], [[True, False]])}, id="truth as numbers"),
    ],
)
def test_rows_become_tensors(signature: Signature, rows: Any, inputs: Any) -> None:
    asked = decode(signature, instances=rows)
    assert (told(asked), asked.by_row) == (inputs, True)


@pytest.mark.parametrize(
    ("signature", "columns", "inputs"),
    [
        pytest.param(IMAGE, [[1, 2, 3]], {"image": ("float32", [1, 3], [[1, 2, 3]])}, id="bare"),
        pytest.param(IMAGE, {"image": [[1, 2, 3]]}, {"image": ("float32", [1, 3], [[1, 2, 3]])}, id="named"),
        pytest.param(IMAGE, [], {"image": ("float32", [0, 3], [])}, id="no rows"),
        pytest.param(
            PERSON,
            {"age": [1, 2], "name": [["a"], ["b"]], "x.1": [[1, 2], [3, 4]]},
            {
                "age": ("int64", [2, 1], [[1], [2]]),
                "name": ("object", [2, 1], [["a"], ["b"]]),
                "x.1": ("float32", [2, 2], [[1, 2], [3, 4]]),
            },
            id="several",
        ),
        pytest.param(SCALAR, 5, {"x": ("float64", [], 5)}, id="a bare scalar"),
        pytest.param(SCALAR, {"x": 0.5}, {"x": ("float64", [], 0.5)}, id="a scalar"),
        pytest.param(PAIR, {"a": [1], "b": []}, {"a": ("float32", [1], [1]), "b": ("float32", [0], [])}, id="no batch"),
        pytest.param(ANY, [[[1]], [[2]]], {"x": ("float32", [2, 1, 1], [[[1]], [[2]]])}, id="any rank"),
        pytest.param(NOTHING, {}, {}, id="no inputs"),
    ],
)
def test_columns_become_tensors(signature: Signature, columns: Any, inputs: Any) -> None:
    asked = decode(signature, inputs=columns)
    assert (told(asked), asked.by_row) == (inputs, False)


@pytest.mark.parametrize(
    ("document", "options"),
    [
        ({}, (inf, 0, False)),
        ({"parameters": None, "signature_name": "serving_default", "more": [1]}, (inf, 0, False)),
        ({"parameters": {"timeout": 1500, "priority": 2, "allow_fallback": True, "more": 1}}, (0.0015, 2, True)),
        ({"parameters": {"timeout": 0}}, (inf, 0, False)),
    ],
)
def test_parameters_say_how_it_is_run_and_the_rest_is_passed_over(document: Any, options: Any) -> None:
    asked = decode(IMAGE, instances=[[1, 2, 3]], **document)
    assert (asked.timeout, asked.priority, asked.allow_fallback) == options


@pytest.mark.parametrize(
    ("signature", "document", "sentence"),
    [
        (IMAGE, {}, "expected 'instances', an array of rows, or 'inputs', the columns, got neither"),
        (
            IMAGE,
            {"instances": [], "inputs": []},
            "expected 'instances', an array of rows, or 'inputs', the columns, got 'instances' and 'inputs'",
        ),
        (IMAGE, {"instances": {"image": [1]}}, """'instances': expected an array of rows, got {"image":[1]}"""),
        (SCALAR, {"instances": [1]}, "'instances': the model has no batch axis, and so no rows; send 'inputs'"),
        (IMAGE, {"instances": [], "parameters": 1}, "'parameters': expected an object, got 1"),
        (
            IMAGE,
            {"instances": [], "parameters": {"timeout": -1}},
            "'parameters.timeout': expected an integer from 0 up (microseconds), got -1",
        ),
        (IMAGE, {"instances": [[1, 2, 3], [4, 5, "x"]]}, 'instances[1][2]: expected a number, got "x"'),
        (IMAGE, {"instances": [[1, 2, True]]}, "instances[0][2]: expected a number, got true"),
        (IMAGE, {"inputs": {"image": [[1, None, 2]]}}, "inputs.image[0][1]: expected a number, got null"),
        (PERSON, {"instances": [BOB, BOB | {"age": "x"}]}, 'instances[1].age: expected an integer, got "x"'),
        (
            PERSON,
            {"instances": [BOB | {"age": 2.5, "name": 5}]},
            "instances[0].age: expected an integer, got 2.5; instances[0].name: expected a string, got 5",
        ),
        (PERSON, {"instances": [BOB | {"x.1": [1, []]}]}, "instances[0]['x.1'][1]: expected a number, got an array"),
        (PERSON, {"instances": [BOB | {"more": 1}]}, "instances[0].more: there is no such field"),
        (PERSON, {"instances": [{"age": 1, "x.1": [1, 2]}]}, "instances[0].name: expected a value, got none"),
        (PERSON, {"instances": [BOB, 5]}, "instances[1]: expected an object, got 5"),
        (PERSON, {"instances": [5]}, "instances[0]: expected an object, got 5"),
        (IMAGE, {"instances": [[1, 2, 3], {"image": [1, 2, 3]}]}, "instances[1]: expected an array, got an object"),
        (BYTE, {"instances": [200]}, "instances[0]: expected at most 127, got 200"),
        (TEXT, {"instances": ["a", {"b64": "?"}]}, "instances[1]: 'b64': Only base64 data is allowed"),
        (TEXT, {"inputs": {"text": [{"b64": "?"}]}}, "inputs.text[0]: 'b64': Only base64 data is allowed"),
        (
            PERSON,
            {"instances": [BOB, BOB | {"name": {"b64": "/w=="}}]},
            "instances[1].name: BYTES are UTF-8 text here, byte 0 is not UTF-8",
        ),
        (
            OPEN,
            {"inputs": ["a", {"b64": "?"}]},
            "input 'x': 'b64': Only base64 data is allowed",
        ),
        (TEXT, {"instances": ["a", {"b64": 5}]}, "instances[1]: expected a string, got 5"),
        (FLAGS, {"instances": [[True, 2]]}, "instances[0][1]: expected true or false, got 2"),
        (
            IDS,
            {"instances": [[1, 2], [1]]},
            "instances[0] has the shape [2], instances[1] [1]: send rows that differ in requests of their own",
        ),
        (
            IDS,
            {"instances": [{"ids": [1]}, {"ids": [1]}, {"ids": []}]},
            "instances[0].ids has the shape [1], instances[2].ids [0]: send rows that differ in requests of their own",
        ),
        (
            IDS,
            {"inputs": [[1, 2], [1]]},
            "inputs[0] has the shape [2], inputs[1] [1]: send rows that differ in requests of their own",
        ),
        (
            IDS,
            {"inputs": {"ids": [[1, 2], [1]]}},
            "inputs.ids[0] has the shape [2], inputs.ids[1] [1]: send rows that differ in requests of their own",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_path(signature: Signature, document: Any, sentence: str) -> None:
    assert refusal(signature, **document) == (MalformedRequest, sentence)


@pytest.mark.parametrize(
    ("signature", "document", "sentence"),
    [
        (IMAGE, {"instances": [[1, 2, 3, 4]]}, "instances[0]: expected 3 elements, got 4"),
        (IMAGE, {"instances": [1, 2]}, "instances[0]: expected an array, got 1"),
        (IMAGE, {"inputs": 5}, "inputs: expected an array, got 5"),
        (
            IMAGE,
            {"inputs": {"picture": []}},
            "inputs.image: expected a value, got none; inputs.picture: there is no such field",
        ),
        (NAMED, {"inputs": {"a": [1, 2], "b": [1]}}, "inputs 'a' and 'b' disagree about dimension 'batch': 2 and 1"),
    ],
)
def test_what_the_model_does_not_take_is_told_with_its_path(signature: Signature, document: Any, sentence: str) -> None:
    assert refusal(signature, **document) == (SignatureMismatch, sentence)


def test_a_number_beyond_its_datatype_is_told_with_its_path() -> None:
    sentence = "instances[0][2]: expected at most 3.4028234663852886e+38, got 1e+39"
    assert refusal(IMAGE, instances=[[1, 2, 1e39]]) == (MalformedRequest, sentence)


def test_no_more_is_told_than_a_person_reads() -> None:
    """Of an array the first that is wrong in it, of an object the first ten."""
    _, sentence = refusal(IMAGE, instances=[["x"] * 3] * 1000)
    assert sentence == 'instances[0][0]: expected a number, got "x"'
    many = model(*(spec(f"x{number}", Datatype.FP32, -1) for number in range(20)))
    _, sentence = refusal(many, instances=[{f"x{number}": "x" for number in range(20)}])
    assert sentence.count("expected a number") == 10


@pytest.mark.parametrize(
    ("limits", "document", "words"),
    [
        ({"elements": 3}, {"instances": [[1, 2, 3]] * 2}, "at most 3 elements"),
        ({"json_depth": 8}, {"instances": [[[[[[[[[1]]]]]]]]]}, "nested deeper than 8"),
        ({"values": 1024}, {"instances": [[1, 2, 3]] * 30_000}, "has 120000 values"),
    ],
)
def test_a_request_is_read_under_limits(limits: Any, document: Any, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words):
        decode(IMAGE, Limits(**limits), **document)


def test_a_string_is_read_under_a_limit() -> None:
    with pytest.raises(MalformedRequest, match="element 0: expected at most 4 bytes, got 5"):
        decode(TEXT, Limits(string_bytes=4), instances=["aaaaa"])


def test_ever_deeper_arrays_are_no_tensor() -> None:
    rows: Any = 1
    for _ in range(70):
        rows = [rows]
    kind, sentence = refusal(ANY, inputs=rows)
    assert (kind, sentence) == (MalformedRequest, "input 'x': expected at most 64 dimensions, got 70")


@pytest.mark.parametrize(
    ("text", "words"), [(b"", "it is empty"), (b"{", "not valid JSON"), (b"[]", "expected a JSON object")]
)
def test_what_is_no_object_is_refused(text: bytes, words: str) -> None:
    for read in (lambda: v1.decode(text, IMAGE, LIMITS), lambda: v1.decode_instances(text, list, LIMITS)):
        with pytest.raises(MalformedRequest, match=words):
            read()


def test_a_transform_makes_instances_of_rows() -> None:
    body = b'{"instances": [1, 2], "parameters": {"priority": 1}}'
    asked = v1.decode_instances(body, lambda rows: [str(row) for row in rows], LIMITS)
    assert asked == v1.Instances(["1", "2"], weight(body), priority=1)


@pytest.mark.parametrize(("document", "got"), [({}, "nothing"), ({"inputs": {}}, "'inputs'"), ({"instances": 5}, "5")])
def test_a_transform_takes_rows_alone(document: Any, got: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        v1.decode_instances(json.dumps(document).encode(), list, LIMITS)
    assert str(caught.value) == f"'instances': expected an array of what the model's transform takes, got {got}"
