"""A request as values and an answer as bytes: what the routes do not show."""

import json
from math import inf
from typing import Any

import numpy as np
import pytest

from service.errors import MalformedRequest, SignatureMismatch
from service.knobs import Limits
from service.protocol.v2 import (
    InferRequest,
    OutputTensor,
    RequestedOutput,
    decode,
    encode,
    tensor_document,
)
from service.tensors import Array, Datatype, Signature, TensorSpec
from tests.oip import blob_tensor, tensor

SIGNATURE = Signature((TensorSpec("x", Datatype.FP32, (-1, 2)),), ())
LIMITS = Limits()
X = tensor("x", "FP32", [1, 2], [1, 2])


def body(**document: Any) -> bytes:
    return json.dumps(document).encode()


def read(content: bytes, json_length: int | None = None) -> InferRequest:
    return decode(content, json_length, SIGNATURE, LIMITS)


def asked(request: InferRequest) -> dict[str, Any]:
    """All of a request but its arrays."""
    inputs = {name: (array.dtype.name, array.tolist()) for name, array in request.inputs.items()}
    return {"inputs": inputs, "outputs": request.outputs, "id": request.id, "binary": request.binary}


def refusal(content: bytes, json_length: int | None = None) -> str:
    with pytest.raises(MalformedRequest) as caught:
        read(content, json_length)
    return str(caught.value)


@pytest.mark.parametrize(
    ("document", "request_"),
    [
        ({}, {}),
        ({"id": "7"}, {"id": "7"}),
        ({"id": ""}, {}),
        ({"id": None, "outputs": None, "parameters": None}, {}),
        ({"parameters": {"binary_data_output": True, "other": 1}}, {"binary": True}),
        ({"parameters": {"binary_data_output": None}}, {}),
        (
            {
                "outputs": [
                    {"name": "a", "parameters": {"binary_data": True}},
                    {"name": "b", "parameters": {"binary_data": False}},
                    {"name": "c", "parameters": {}},
                ]
            },
            {"outputs": (RequestedOutput("a", True), RequestedOutput("b", False), RequestedOutput("c"))},
        ),
    ],
)
def test_a_request_says_what_it_wants(document: dict[str, Any], request_: dict[str, Any]) -> None:
    expected = {"inputs": {"x": ("float32", [[1, 2]])}, "outputs": (), "id": None, "binary": False} | request_
    assert asked(read(body(inputs=[X], **document))) == expected


@pytest.mark.parametrize("default", [True, False])
def test_an_output_that_does_not_say_follows_the_request(default: bool) -> None:
    outputs = (RequestedOutput("a", True), RequestedOutput("b", False), RequestedOutput("c"))
    request = InferRequest({}, outputs, binary=default)
    assert [request.wants_binary(name) for name in "abcd"] == [True, False, default, default]


@pytest.mark.parametrize("padding", range(8))
def test_blobs_are_viewed_where_they_are_aligned_and_otherwise_copied(padding: int) -> None:
    head = body(inputs=[blob_tensor("x", "FP32", [2], 8), blob_tensor("y", "UINT8", [3], 3)], parameters=None)
    head += b" " * padding
    content = head + np.array([1, 2], np.float32).tobytes() + b"\1\2\3"
    signature = Signature((TensorSpec("x", Datatype.FP32, (-1,)), TensorSpec("y", Datatype.UINT8, (-1,))), ())
    inputs = decode(content, len(head), signature, LIMITS).inputs
    assert [(name, array.tolist(), array.flags.aligned) for name, array in inputs.items()] == [
        ("x", [1, 2], True),
        ("y", [1, 2, 3], True),
    ]
    received = np.frombuffer(content, np.uint8)
    is_aligned = (received.ctypes.data + len(head)) % 4 == 0
    assert np.shares_memory(inputs["x"], received) is is_aligned
    assert np.shares_memory(inputs["y"], received)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([X | {"data": ["no number"]}, X | {"name": "y"}], "inputs: expected 'x', got 'x', 'y': unknown 'y'"),
        ([X | {"name": "y", "data": ["no number"]}], "inputs: expected 'x', got 'y': missing 'x', unknown 'y'"),
        ([], "inputs: expected 'x', got none: missing 'x'"),
    ],
)
def test_inputs_of_other_names_are_refused_before_they_are_read(inputs: list[Any], sentence: str) -> None:
    with pytest.raises(SignatureMismatch) as caught:
        read(body(inputs=inputs))
    assert str(caught.value) == sentence


def test_a_body_that_ends_with_its_json_is_all_json() -> None:
    content = body(inputs=[X])
    assert asked(read(content, len(content))) == asked(read(content))


def test_a_raw_body_asks_for_bytes() -> None:
    content = np.array([1, 2], np.float32).tobytes()
    expected = {"inputs": {"x": ("float32", [[1, 2]])}, "outputs": (), "id": None, "binary": True}
    assert asked(read(content, 0)) == expected


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "'inputs' is missing: expected an array of tensors"),
        ({"inputs": {}}, "'inputs': expected an array, got {}"),
        ({"inputs": ["x"]}, 'inputs[0]: expected an object, got "x"'),
        ({"inputs": [{}]}, "inputs[0]: 'name': expected a string, got nothing"),
        ({"inputs": [X, X]}, "inputs[1]: name 'x' stands in 'inputs' twice"),
        ({"inputs": [X], "outputs": 1}, "'outputs': expected an array, got 1"),
        ({"inputs": [X], "outputs": [{"name": 1}]}, "outputs[0]: 'name': expected a string, got 1"),
        (
            {"inputs": [X], "outputs": [{"name": "y", "parameters": []}]},
            "output 'y': 'parameters': expected an object, got []",
        ),
        (
            {"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
            "output 'y': 'parameters.binary_data': expected true or false, got 1",
        ),
        (
            {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": -1}}]},
            "output 'y': 'parameters.classification': expected an integer from 0 up (a number of classes), got -1",
        ),
        (
            {"inputs": [X], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r", "other": 1}}]},
            "output 'y': 'parameters.shared_memory_region' is of an extension that GET /v2 does not list",
        ),
        ({"inputs": [X], "parameters": []}, "'parameters': expected an object, got []"),
        (
            {"inputs": [X], "parameters": {"binary_data_output": "yes"}},
            "'parameters.binary_data_output': expected true or false, got \"yes\"",
        ),
        ({"inputs": [X], "id": 7}, "'id': expected a string, got 7"),
        ({"inputs": [X | {"parameters": 1}]}, "input 'x': 'parameters': expected an object, got 1"),
        (
            {"inputs": [X | {"datatype": "FLOAT"}]},
            "input 'x': 'datatype': expected one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, "
            'FP16, FP32, FP64, BYTES, got "FLOAT"',
        ),
        (
            {"inputs": [X | {"shape": [1, -2]}]},
            "input 'x': 'shape': expected an array of integers from 0 up, got [1,-2]",
        ),
        (
            {"inputs": [X | {"shape": [1.0]}]},
            "input 'x': 'shape': expected an array of integers from 0 up, got [1.0]",
        ),
        ({"inputs": [X | {"shape": None}]}, "input 'x': 'shape': expected an array of integers from 0 up, got nothing"),
        (
            {"inputs": [X | {"shape": [1] * 65}]},
            "input 'x': 'shape': expected at most 64 dimensions, got 65",
        ),
        (
            {"inputs": [X | {"shape": [2**32, 2**31, 0]}]},
            "input 'x': 'shape': expected at most 67108864 elements, got [4294967296,2147483648,0]",
        ),
        (
            {"inputs": [X | {"parameters": {"binary_data_size": 8}}]},
            "input 'x': expected 'data' or 'parameters.binary_data_size', got both",
        ),
        (
            {"inputs": [X | {"data": None}]},
            "input 'x': expected 'data' or 'parameters.binary_data_size', got neither",
        ),
        (
            {"inputs": [blob_tensor("x", "FP32", [1, 2], 8)]},
            "input 'x': expected 8 bytes of binary data, 0 are left in the body",
        ),
        (
            {"inputs": [X | {"data": None, "parameters": {"binary_data_size": True}}]},
            "input 'x': 'binary_data_size': expected a number of bytes, got true",
        ),
        (
            {"inputs": [X], "parameters": "a" * 100},
            f"'parameters': expected an object, got \"{'a' * 56}...",
        ),
    ],
)
def test_a_request_of_another_form_is_refused(document: dict[str, Any], sentence: str) -> None:
    assert refusal(body(**document)) == sentence


@pytest.mark.parametrize(
    ("content", "json_length", "sentence"),
    [
        (b"", None, "the body is not valid JSON: it is empty"),
        (b"[]", None, "the body: expected a JSON object, got []"),
        (
            b"{}",
            3,
            "Inference-Header-Content-Length: expected a number in the range 0 to 2, the length of the body, got 3",
        ),
        (body(inputs=[X]) + b"12", len(body(inputs=[X])), "2 bytes are left over behind the inputs' binary data"),
    ],
)
def test_a_body_that_cannot_be_split_is_refused(content: bytes, json_length: int | None, sentence: str) -> None:
    assert refusal(content, json_length) == sentence


def test_an_empty_tensor_needs_no_data() -> None:
    empty = {"name": "x", "datatype": "INT8", "shape": [0, 3]}
    for given in (empty, empty | {"data": None}, empty | {"data": []}):
        assert read(body(inputs=[given])).inputs["x"].shape == (0, 3)


@pytest.mark.parametrize("word", ["true", "false"])
def test_a_boolean_is_no_number_wherever_it_stands(word: str) -> None:
    content = body(inputs=[X]).replace(b"[1, 2]}", b"[%s, 2]}" % word.encode())
    assert refusal(content) == f"input 'x': element 0 of 'data': expected a number in the range of FP32, got {word}"


def output(name: str, array: Array, binary: bool) -> OutputTensor:
    return OutputTensor(name, Datatype(array.dtype), array, binary)


A = np.array([[1, 2]], np.int16)
B = np.array(["b"], np.object_)
A_JSON = {"name": "a", "datatype": "INT16", "shape": [1, 2], "data": [1, 2]}
B_JSON = {"name": "b", "datatype": "BYTES", "shape": [1], "data": ["b"]}
A_BINARY = {"name": "a", "datatype": "INT16", "shape": [1, 2], "parameters": {"binary_data_size": 4}}
B_BINARY = {"name": "b", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}


@pytest.mark.parametrize(
    ("outputs", "documents", "blobs"),
    [
        ([], [], None),
        ([output("a", A, False), output("b", B, False)], [A_JSON, B_JSON], None),
        ([output("b", B, False), output("a", A, False)], [B_JSON, A_JSON], None),
        ([output("b", B, True), output("a", A, True)], [B_BINARY, A_BINARY], b"\1\0\0\0b\1\0\2\0"),
        ([output("a", A, True), output("b", B, False)], [A_BINARY, B_JSON], b"\1\0\2\0"),
        ([output("a", A, False), output("b", B, True)], [A_JSON, B_BINARY], b"\1\0\0\0b"),
    ],
)
def test_outputs_are_written_in_their_order(
    outputs: list[OutputTensor], documents: list[dict[str, Any]], blobs: bytes | None
) -> None:
    content, length = encode("cat", 3, "7", outputs, LIMITS)
    assert json.loads(content[:length]) == {
        "model_name": "cat",
        "model_version": "3",
        "id": "7",
        "outputs": documents,
    }
    assert (None if length is None else content[length:]) == blobs


INFINITE = np.array([1, np.inf, np.nan], np.float32)
NULL = np.array(["null"], np.object_)


def test_what_is_not_finite_is_null_and_marked() -> None:
    tensors = [
        output("a", INFINITE, False),
        output("b", A, False),
        output("c", NULL, False),
        output("d", INFINITE, True),
    ]
    content, length = encode("cat", 3, "7", tensors, LIMITS)
    assert json.loads(content[:length])["outputs"] == [
        {
            "name": "a",
            "datatype": "FP32",
            "shape": [3],
            "data": [1, None, None],
            "parameters": {"nonfinite": True},
        },
        A_JSON | {"name": "b"},
        {"name": "c", "datatype": "BYTES", "shape": [1], "data": ["null"]},
        {"name": "d", "datatype": "FP32", "shape": [3], "parameters": {"binary_data_size": 12}},
    ]


def test_a_tensor_becomes_a_document_without_a_copy() -> None:
    document = tensor_document("x", Datatype.FP32, INFINITE)
    assert np.shares_memory(document.pop("data"), INFINITE)
    assert document == {"name": "x", "datatype": "FP32", "shape": (3,)}


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ({}, (inf, 0, False)),
        ({"timeout": None, "priority": None, "allow_fallback": None}, (inf, 0, False)),
        ({"timeout": 0}, (inf, 0, False)),
        ({"timeout": 1}, (1e-6, 0, False)),
        ({"timeout": 2_500_000, "priority": 3, "allow_fallback": True}, (2.5, 3, True)),
        ({"timeout": 2**63}, (2**63 / 1e6, 0, False)),
        ({"allow_fallback": False}, (inf, 0, False)),
    ],
)
def test_a_request_says_how_long_how_urgently_and_by_whom(
    parameters: dict[str, Any], options: tuple[float, int, bool]
) -> None:
    request = read(body(inputs=[X], parameters=parameters))
    assert (request.timeout, request.priority, request.allow_fallback) == options


@pytest.mark.parametrize("value", [-1, 1.5, True, "1", [], {}])
@pytest.mark.parametrize(("name", "unit"), [("timeout", "microseconds"), ("priority", "a level, 1 the most urgent")])
def test_a_number_that_is_none_is_refused(name: str, unit: str, value: Any) -> None:
    got = json.dumps(value, separators=(",", ":"))
    assert refusal(body(inputs=[X], parameters={name: value})) == (
        f"'parameters.{name}': expected an integer from 0 up ({unit}), got {got}"
    )


@pytest.mark.parametrize("value", [1, "true", []])
def test_a_fallback_is_allowed_or_not(value: Any) -> None:
    assert refusal(body(inputs=[X], parameters={"allow_fallback": value})) == (
        f"'parameters.allow_fallback': expected true or false, got {json.dumps(value)}"
    )


def test_an_answer_may_say_more_of_itself() -> None:
    text, _ = encode("cat", 1, "7", [], LIMITS, {"fallback_for": "lion"})
    assert json.loads(text) == {
        "model_name": "cat",
        "model_version": "1",
        "id": "7",
        "outputs": [],
        "parameters": {"fallback_for": "lion"},
    }


@pytest.mark.parametrize("count", [65_536, 65_537, 200_001])
@pytest.mark.parametrize("kind", ["numbers", "strings", "bools"])
def test_many_elements_are_written_as_few_are(count: int, kind: str) -> None:
    """In chunks, between which other threads have their turn."""
    numbers = np.arange(count) / 3
    array = {"numbers": numbers, "strings": np.array(list(map(str, numbers)), np.object_), "bools": numbers > 9}[kind]
    answer, _ = encode(
        "m", 1, "7", [OutputTensor("y", Datatype(array.dtype), array.reshape(1, count), False)], Limits()
    )
    document = {"name": "y", "datatype": Datatype(array.dtype).name, "shape": [1, count], "data": array.tolist()}
    assert json.loads(answer)["outputs"] == [document]


@pytest.mark.parametrize("place", [0, 70_000])
def test_what_is_not_finite_is_marked_among_many(place: int) -> None:
    numbers = np.ones(80_000)
    numbers[place] = np.nan
    outputs = [
        OutputTensor(name, Datatype.FP64, array, False) for name, array in (("y", numbers), ("z", np.ones(80_000)))
    ]
    answer, _ = encode("m", 1, "7", outputs, Limits())
    y, z = json.loads(answer)["outputs"]
    assert (y["parameters"], y["data"].index(None), "parameters" in z) == ({"nonfinite": True}, place, False)
