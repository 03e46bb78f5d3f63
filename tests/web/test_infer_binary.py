"""The binary tensor extension: where the JSON ends, whose bytes are whose, and every way to get it wrong."""

import json
import uuid
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.oip import (
    HEADER_LENGTH,
    NUMPY_TYPES,
    Answer,
    Json,
    assert_problem,
    binary,
    blob_tensor,
    length_prefixed,
    outputs,
    split,
    tensor,
)

BINARY_OUTPUT = {"parameters": {"binary_data_output": True}}
ROW = np.array([1, 2, 3, 4], "<f4").tobytes()
A = np.arange(16, dtype="<i4")
B = np.full(16, 100, "<i4")
BLOBS = {"a": A.tobytes(), "b": B.tobytes()}
RESULTS = {"sum": A + B, "difference": A - B}

BITS: dict[str, list[Any]] = {
    "BOOL": [0, 1],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**53 + 1, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**53 + 1, 2**63 - 1],
    "FP16": [0.1, -65504.0, float("inf"), float("nan")],
    "FP32": [0.1, -3.4028235e38, float("-inf"), float("nan")],
    "FP64": [0.1, 5e-324, float("inf"), float("nan")],
}


def elements(datatype: str) -> tuple[int, bytes]:
    """Telling elements of the datatype: how many, and their bytes."""
    if datatype == "BYTES":
        return 4, length_prefixed(b"", b"plain", "Grüße, 世界 🦄".encode(), b"nul \0 inside")
    values = np.array(BITS[datatype], NUMPY_TYPES[datatype])
    return len(values), values.tobytes()


def infer(client: TestClient, model: str, document: Json, *blobs: bytes, header: str | None = None) -> Answer:
    return client.post(f"/v2/models/{model}/infer", **binary(document, *blobs, header=header))


def infer_raw(client: TestClient, model: str, body: bytes) -> Answer:
    return client.post(f"/v2/models/{model}/infer", content=body, headers={HEADER_LENGTH: "0"})


def double(client: TestClient, size: Any, *blobs: bytes, shape: Any = (1, 4), header: str | None = None) -> Answer:
    return infer(client, "double", {"inputs": [blob_tensor("x", "FP32", shape, size)]}, *blobs, header=header)


def add_sub(client: TestClient, document: Json | None = None) -> Answer:
    inputs = [blob_tensor(name, "INT32", [1, 16], 64) for name in BLOBS]
    return infer(client, "add_sub", {"inputs": inputs} | (document or {}), *BLOBS.values())


@pytest.mark.parametrize("datatype", tiny.DATATYPES)
def test_every_bit_of_a_datatype_survives(client: TestClient, datatype: str) -> None:
    count, blob = elements(datatype)
    x = blob_tensor("x", datatype, [1, count], len(blob))
    answer = infer(client, f"identity_{datatype.lower()}", {"id": "mine", "inputs": [x]} | BINARY_OUTPUT, blob)
    document, blobs = split(answer)
    assert blobs == [blob]
    assert document == {
        "model_name": f"identity_{datatype.lower()}",
        "model_version": "1",
        "id": "mine",
        "outputs": [blob_tensor("y", datatype, [1, count], len(blob))],
    }


def test_a_binary_answer_says_what_it_is(client: TestClient) -> None:
    answer = add_sub(client, BINARY_OUTPUT)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert json.loads(answer.content[: int(answer.headers[HEADER_LENGTH])])["model_name"] == "add_sub"


def test_bytes_in_give_json_out_unless_asked_otherwise(client: TestClient) -> None:
    answer = add_sub(client)
    assert outputs(answer) == [tensor(name, "INT32", [1, 16], values.tolist()) for name, values in RESULTS.items()]
    assert answer.headers["Content-Type"].startswith("application/json")


def test_json_in_gives_bytes_out_when_asked(client: TestClient) -> None:
    body = {"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]} | BINARY_OUTPUT
    document, blobs = split(client.post("/v2/models/double/infer", json=body))
    assert document["outputs"] == [blob_tensor("y", "FP32", [1, 4], 16)]
    assert blobs == [np.array([2, 4, 6, 8], "<f4").tobytes()]


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]], ids=" ".join)
def test_blobs_follow_in_the_order_of_the_inputs(client: TestClient, order: list[str]) -> None:
    inputs = [blob_tensor(name, "INT32", [1, 16], 64) for name in order]
    answer = infer(client, "add_sub", {"inputs": inputs}, *[BLOBS[name] for name in order])
    assert [output["data"] for output in outputs(answer)] == [values.tolist() for values in RESULTS.values()]


@pytest.mark.parametrize("in_json", ["a", "b"])
def test_one_input_may_be_json_and_the_other_bytes(client: TestClient, in_json: str) -> None:
    values = {"a": A, "b": B}
    inputs = [
        tensor(name, "INT32", [1, 16], values[name].tolist())
        if name == in_json
        else blob_tensor(name, "INT32", [1, 16], 64)
        for name in values
    ]
    answer = infer(client, "add_sub", {"inputs": inputs}, *[BLOBS[name] for name in BLOBS if name != in_json])
    assert [output["data"] for output in outputs(answer)] == [values.tolist() for values in RESULTS.values()]


def requested(name: str, **parameters: bool) -> Json:
    return {"name": name, "parameters": parameters} if parameters else {"name": name}


@pytest.mark.parametrize(
    ("default", "asked", "answered"),
    [
        pytest.param(True, None, {"sum": True, "difference": True}, id="default for all"),
        pytest.param(False, None, {"sum": False, "difference": False}, id="default off"),
        pytest.param(True, [requested("difference")], {"difference": True}, id="default for a listed one"),
        pytest.param(
            None,
            [requested("sum", binary_data=True), requested("difference")],
            {"sum": True, "difference": False},
            id="one of two",
        ),
        pytest.param(
            None,
            [requested("difference"), requested("sum", binary_data=True)],
            {"difference": False, "sum": True},
            id="one of two in the other order",
        ),
        pytest.param(
            True,
            [requested("sum", binary_data=False), requested("difference")],
            {"sum": False, "difference": True},
            id="a listed one overrides the default",
        ),
        pytest.param(
            False,
            [requested("sum", binary_data=True), requested("difference")],
            {"sum": True, "difference": False},
            id="a listed one overrides the default off",
        ),
        pytest.param(
            None,
            [requested("difference", binary_data=True), requested("sum", binary_data=True)],
            {"difference": True, "sum": True},
            id="blobs in the order of the outputs",
        ),
        pytest.param(
            True,
            [requested("sum", binary_data=False)],
            {"sum": False},
            id="all overridden",
        ),
    ],
)
def test_each_output_is_answered_as_asked(
    client: TestClient, default: bool | None, asked: list[Json] | None, answered: dict[str, bool]
) -> None:
    document: Json = {} if default is None else {"parameters": {"binary_data_output": default}}
    answer = add_sub(client, document | ({"outputs": asked} if asked else {}))
    expected = [
        blob_tensor(name, "INT32", [1, 16], 64) if as_bytes else tensor(name, "INT32", [1, 16], RESULTS[name].tolist())
        for name, as_bytes in answered.items()
    ]
    if any(answered.values()):
        found, blobs = split(answer)
        assert found["outputs"] == expected
        assert blobs == [RESULTS[name].tobytes() for name, as_bytes in answered.items() if as_bytes]
    else:
        assert outputs(answer) == expected
        assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_bytes_that_are_not_finite_are_null_in_json_only(client: TestClient, datatype: str) -> None:
    blob = np.array([float("nan"), float("inf"), float("-inf"), -0.5], NUMPY_TYPES[datatype]).tobytes()
    x = blob_tensor("x", datatype, [1, 4], len(blob))
    [y] = outputs(infer(client, f"identity_{datatype.lower()}", {"inputs": [x]}, blob))
    assert y == tensor("y", datatype, [1, 4], [None, None, None, -0.5]) | {"parameters": {"nonfinite": True}}


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BYTES"])
@pytest.mark.parametrize("shape", [[0, 3], [2, 0]], ids=str)
def test_an_empty_tensor_has_an_empty_blob(client: TestClient, datatype: str, shape: list[int]) -> None:
    x = blob_tensor("x", datatype, shape, 0)
    document, blobs = split(infer(client, f"identity_{datatype.lower()}", {"inputs": [x]} | BINARY_OUTPUT))
    assert document["outputs"] == [blob_tensor("y", datatype, shape, 0)]
    assert blobs == [b""]


@pytest.mark.parametrize("padding", range(8))
def test_a_blob_may_begin_at_any_byte(client: TestClient, padding: int) -> None:
    blob = np.array([2**53 + 1, -(2**63)], "<i8").tobytes()
    document = {"id": "x" * padding, "inputs": [blob_tensor("x", "INT64", [1, 2], 16)]} | BINARY_OUTPUT
    assert split(infer(client, "identity_int64", document, blob))[1] == [blob]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Content-Type": "application/octet-stream"}, id="octet-stream without the header"),
        pytest.param({"Content-Type": "application/json", HEADER_LENGTH: "whole"}, id="JSON of the header's length"),
        pytest.param(
            {"Content-Type": "application/octet-stream", HEADER_LENGTH: "whole"},
            id="octet-stream of the header's length",
        ),
        pytest.param({HEADER_LENGTH: "whole"}, id="no type and the header's length"),
    ],
)
def test_a_body_that_is_all_json_is_json(client: TestClient, headers: dict[str, str]) -> None:
    body = json.dumps({"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}).encode()
    headers = {name: value.replace("whole", str(len(body))) for name, value in headers.items()}
    answer = client.post("/v2/models/double/infer", content=body, headers=headers)
    assert outputs(answer) == [tensor("y", "FP32", [1, 4], [2.0, 4.0, 6.0, 8.0])]


@pytest.mark.parametrize("media_type", ["application/json", "application/octet-stream", None], ids=str)
def test_the_header_and_not_the_type_says_where_the_json_ends(client: TestClient, media_type: str | None) -> None:
    request = binary({"inputs": [blob_tensor("x", "FP32", [1, 4], 16)]}, ROW)
    headers = {HEADER_LENGTH: request["headers"][HEADER_LENGTH]}
    headers |= {"Content-Type": media_type} if media_type else {}
    answer = client.post("/v2/models/double/infer", content=request["content"], headers=headers)
    assert outputs(answer) == [tensor("y", "FP32", [1, 4], [2.0, 4.0, 6.0, 8.0])]


@pytest.mark.parametrize(
    "header",
    ["abc", "1.5", "1e2", "0x40", "1_0", "-1", "99999", str(2**31), str(2**63), str(2**64), "9" * 400],
)
def test_a_header_length_that_is_no_length_within_the_body_is_refused(client: TestClient, header: str) -> None:
    assert_problem(double(client, 16, ROW, header=header), 400, "malformed_request", HEADER_LENGTH)


@pytest.mark.parametrize("offset", [-10, -1, 1, 16])
def test_a_header_length_that_misses_the_end_of_the_json_is_refused(client: TestClient, offset: int) -> None:
    true_length = int(binary({"inputs": [blob_tensor("x", "FP32", [1, 4], 16)]})["headers"][HEADER_LENGTH])
    answer = double(client, 16, ROW, header=str(true_length + offset))
    assert_problem(answer, 400, "malformed_request")


@pytest.mark.parametrize(
    ("size", "blob"),
    [
        pytest.param(16, ROW[:15], id="one byte is missing"),
        pytest.param(16, b"", id="all bytes are missing"),
        pytest.param(12, ROW[:12], id="an element less than the shape"),
        pytest.param(20, ROW + ROW[:4], id="an element more than the shape"),
        pytest.param(15, ROW[:15], id="part of an element"),
        pytest.param(0, b"", id="no element"),
        pytest.param(-16, ROW, id="a negative size"),
        pytest.param(2**63, ROW, id="a size beyond memory"),
        pytest.param(2**64, ROW, id="a size beyond 64 bits"),
        pytest.param("16", ROW, id="text for a size"),
        pytest.param(16.0, ROW, id="a float for a size"),
        pytest.param(True, b"\0", id="a boolean for a size"),
        pytest.param([16], ROW, id="an array for a size"),
    ],
)
def test_bytes_that_do_not_fill_the_shape_are_refused(client: TestClient, size: Any, blob: bytes) -> None:
    assert_problem(double(client, size, blob), 400, "malformed_request", "x")


def test_bytes_that_no_input_asks_for_are_refused(client: TestClient) -> None:
    assert_problem(double(client, 16, ROW, b"\0"), 400, "malformed_request")


def test_the_blob_of_the_second_input_cannot_be_missing(client: TestClient) -> None:
    inputs = [blob_tensor(name, "INT32", [1, 16], 64) for name in BLOBS]
    answer = infer(client, "add_sub", {"inputs": inputs}, BLOBS["a"])
    assert_problem(answer, 400, "malformed_request", "b")


def test_a_shape_beyond_64_bits_is_refused_before_anything_is_allocated(client: TestClient) -> None:
    x = blob_tensor("x", "FP32", [2**40, 2**40], 16)
    answer = infer(client, "identity_fp32", {"inputs": [x]}, ROW)
    assert_problem(answer, 400, "malformed_request", "x")


def test_a_size_without_the_header_finds_no_bytes(client: TestClient) -> None:
    body = {"inputs": [blob_tensor("x", "FP32", [1, 4], 16)]}
    answer = client.post("/v2/models/double/infer", json=body)
    assert_problem(answer, 400, "malformed_request", "x")


def test_data_and_bytes_for_one_input_are_refused(client: TestClient) -> None:
    x = blob_tensor("x", "FP32", [1, 4], 16) | {"data": [1, 2, 3, 4]}
    answer = infer(client, "double", {"inputs": [x]}, ROW)
    assert_problem(answer, 400, "malformed_request", "x", "data", "binary_data_size")


def test_neither_data_nor_bytes_is_refused(client: TestClient) -> None:
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
    assert_problem(infer(client, "double", {"inputs": [x]}), 400, "malformed_request", "x", "data", "binary_data_size")


def test_json_that_cannot_be_read_before_the_bytes_is_refused(client: TestClient) -> None:
    answer = client.post("/v2/models/double/infer", content=b'{"inputs": [' + ROW, headers={HEADER_LENGTH: "12"})
    assert_problem(answer, 400, "malformed_request")


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "code"),
    [
        pytest.param("INT32", [1, 4], 16, "signature_mismatch", id="another datatype"),
        pytest.param("FP32", [2, 2], 16, "signature_mismatch", id="another shape"),
        pytest.param("FP31", [1, 4], 16, "malformed_request", id="an unknown datatype"),
    ],
)
def test_bytes_are_checked_against_the_signature_too(
    client: TestClient, datatype: str, shape: list[int], size: int, code: str
) -> None:
    answer = infer(client, "double", {"inputs": [blob_tensor("x", datatype, shape, size)]}, ROW)
    assert_problem(answer, 400, code, "x")


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(b"\x05\0\0\0four", id="a length beyond the end"),
        pytest.param(length_prefixed(b"one") + b"\x05\0\0\0four", id="a last length beyond the end"),
        pytest.param(b"\xff\xff\xff\xff", id="a length of 4 GiB"),
        pytest.param(length_prefixed(b"one") + b"\x01\0", id="half a length"),
        pytest.param(length_prefixed(b"one"), id="too few elements"),
        pytest.param(length_prefixed(b"one", b"two", b"three"), id="too many elements"),
        pytest.param(b"", id="no element"),
    ],
)
def test_texts_that_do_not_fill_the_shape_are_refused(client: TestClient, blob: bytes) -> None:
    x = blob_tensor("x", "BYTES", [1, 2], len(blob))
    answer = infer(client, "identity_bytes", {"inputs": [x]}, blob)
    assert_problem(answer, 400, "malformed_request", "x")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\xff", id="no UTF-8 at all"),
        pytest.param("ü".encode()[:1], id="half a character"),
        pytest.param(b"\xed\xa0\x80", id="a surrogate"),
        pytest.param(b"\xc0\x80", id="an overlong nul"),
    ],
)
def test_bytes_that_are_no_text_are_refused_and_it_is_said_why(client: TestClient, text: bytes) -> None:
    blob = length_prefixed(b"good", text)
    x = blob_tensor("x", "BYTES", [1, 2], len(blob))
    answer = infer(client, "identity_bytes", {"inputs": [x]}, blob)
    assert_problem(answer, 400, "malformed_request", "x", "UTF-8")


def test_text_whose_characters_are_split_between_elements_is_refused(client: TestClient) -> None:
    first, second = "ü".encode()[:1], "ü".encode()[1:]
    blob = length_prefixed(first, second)
    x = blob_tensor("x", "BYTES", [1, 2], len(blob))
    assert_problem(infer(client, "identity_bytes", {"inputs": [x]}, blob), 400, "malformed_request", "UTF-8")


def test_a_boolean_is_a_byte_of_zero_or_one(client: TestClient) -> None:
    x = blob_tensor("x", "BOOL", [1, 2], 2)
    assert_problem(infer(client, "identity_bool", {"inputs": [x]}, b"\1\2"), 400, "malformed_request", "x")


def test_a_problem_is_plain_json_whatever_was_asked(client: TestClient) -> None:
    answer = infer(client, "double", {"inputs": [blob_tensor("x", "FP32", [1, 4], 16)]} | BINARY_OUTPUT)
    assert_problem(answer, 400, "malformed_request", "x")
    assert HEADER_LENGTH not in answer.headers
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("model", "body", "output", "blob"),
    [
        pytest.param(
            "double",
            ROW + ROW,
            blob_tensor("y", "FP32", [2, 4], 32),
            np.array([2, 4, 6, 8] * 2, "<f4").tobytes(),
            id="the free dimension is deduced",
        ),
        pytest.param(
            "identity_int16",
            b"\1\0\2\0\3\0",
            blob_tensor("y", "INT16", [1, 3], 6),
            b"\1\0\2\0\3\0",
            id="the batch is one if another dimension is free",
        ),
        pytest.param(
            "fixed",
            ROW[:12],
            blob_tensor("y", "FP32", [1, 3], 12),
            np.array([-1, -2, -3], "<f4").tobytes(),
            id="nothing is free",
        ),
        pytest.param(
            "scalar",
            ROW[:4],
            blob_tensor("y", "FP32", [], 4),
            np.array(2, "<f4").tobytes(),
            id="no dimension",
        ),
        pytest.param(
            "identity_bytes",
            "zwölf".encode(),
            blob_tensor("y", "BYTES", [1, 1], 10),
            length_prefixed("zwölf".encode()),
            id="the body is the one text",
        ),
        pytest.param(
            "gather_words",
            np.array([1, 2], "<i8").tobytes(),
            blob_tensor("word", "BYTES", [2], 17),
            length_prefixed(b"one", "zwölf".encode()),
            id="texts for integers",
        ),
    ],
)
def test_a_raw_request_is_the_one_input_and_gets_bytes(
    client: TestClient, model: str, body: bytes, output: Json, blob: bytes
) -> None:
    answer = infer_raw(client, model, body)
    document, blobs = split(answer)
    assert document == {
        "model_name": model,
        "model_version": "1",
        "id": answer.headers["X-Request-ID"],
        "outputs": [output],
    }
    assert uuid.UUID(document["id"]).version == 7
    assert blobs == [blob]


def test_a_raw_request_gets_all_outputs_as_bytes(client: TestClient) -> None:
    document, blobs = split(infer_raw(client, "reciprocal", np.array([0, -1], "<f4").tobytes()))
    assert document["outputs"] == [
        blob_tensor("reciprocal", "FP32", [1, 2], 8),
        blob_tensor("log", "FP32", [1, 2], 8),
    ]
    reciprocal, log = (np.frombuffer(blob, "<f4").tolist() for blob in blobs)
    assert reciprocal == [float("inf"), -1.0]
    assert log == [float("-inf"), pytest.approx(float("nan"), nan_ok=True)]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        pytest.param("double", ROW[:12], id="part of a row"),
        pytest.param("double", ROW + b"\0", id="a byte too many"),
        pytest.param("fixed", ROW, id="more than the fixed shape"),
        pytest.param("fixed", b"", id="no bytes for a fixed shape"),
        pytest.param("scalar", ROW, id="four for a scalar"),
        pytest.param("add_sub", ROW * 4, id="a model of two inputs"),
        pytest.param("identity_bytes", b"\xff", id="no text"),
        pytest.param("identity_bool", b"\2", id="no boolean"),
    ],
)
def test_a_raw_request_that_fits_no_input_is_refused(client: TestClient, model: str, body: bytes) -> None:
    answer = infer_raw(client, model, body)
    assert_problem(answer, 400, answer.json()["code"])
    assert answer.json()["code"] in {"malformed_request", "signature_mismatch"}
