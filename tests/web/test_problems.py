"""Every mistake gets the right status, one body shape, and the check that comes first decides."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.oip import HEADER_LENGTH, Answer, Json, assert_problem, binary, blob_tensor, outputs, tensor
from tests.web.conftest import SMALL_BODY

ONES = tensor("x", "FP32", [1, 4], [1, 1, 1, 1])
TWOS = tensor("y", "FP32", [1, 4], [2.0, 2.0, 2.0, 2.0])
TEXT = {"inputs": [tensor("x", "BYTES", [1, 1], ["a"])]}
INFER = "/v2/models/double/infer"
SMALL_INFER = "/v2/models/identity_bytes/infer"


def padded(length: int) -> bytes:
    """A good request for the text model that is exactly so long."""
    return json.dumps(TEXT).encode().ljust(length)


def nested(depth: int, core: str = "") -> str:
    return "[" * depth + core + "]" * depth


def infer_nested(client: TestClient, data: str) -> Answer:
    x = f'{{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": {data}}}'
    return client.post("/v2/models/identity_fp32/infer", content=f'{{"inputs": [{x}]}}'.encode())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/v2/nowhere"),
        ("POST", "/v2/nowhere"),
        ("GET", "/v3"),
        ("GET", "/v2/models/double/nowhere"),
        ("GET", "/v2/models/nowhere/nowhere"),
        ("POST", "/v2/models/double/versions/1/nowhere"),
        ("GET", "/v2/health/nowhere"),
        ("DELETE", "/nowhere"),
    ],
)
def test_an_unknown_path_is_not_found(client: TestClient, method: str, path: str) -> None:
    assert_problem(client.request(method, path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2", "GET"),
        ("DELETE", "/v2/health/live", "GET"),
        ("POST", "/v2/health/ready", "GET"),
        ("PUT", "/v2/models", "GET"),
        ("POST", "/v2/models/double", "GET"),
        ("DELETE", "/v2/models/double/versions/1", "GET"),
        ("POST", "/v2/models/double/ready", "GET"),
        ("GET", INFER, "POST"),
        ("PUT", INFER, "POST"),
        ("GET", "/v2/models/double/versions/1/infer", "POST"),
        ("GET", "/v2/repository/index", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    methods = set(answer.headers["Allow"].replace(" ", "").split(","))
    assert allowed in methods
    assert method not in methods


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/unheard"),
        ("GET", "/v2/models/unheard/versions/1"),
        ("GET", "/v2/models/unheard/ready"),
        ("GET", "/v2/models/unheard/versions/1/ready"),
        ("GET", "/v2/models/unheard/versions/latest"),
        ("POST", "/v2/models/unheard/infer"),
        ("POST", "/v2/models/unheard/versions/1/infer"),
    ],
)
def test_an_unknown_model_is_not_found(client: TestClient, method: str, path: str) -> None:
    assert_problem(client.request(method, path), 404, "model_not_found", "unheard")


def test_a_models_name_is_case_sensitive(client: TestClient) -> None:
    assert_problem(client.get("/v2/models/Double"), 404, "model_not_found", "Double")


@pytest.mark.parametrize("version", ["2", "0", "-1", "1.0", "latest", "99999999999999999999"])
@pytest.mark.parametrize(
    ("method", "suffix"),
    [("GET", ""), ("GET", "/ready"), ("POST", "/infer")],
    ids=["metadata", "ready", "infer"],
)
def test_an_unknown_version_is_not_found(client: TestClient, method: str, suffix: str, version: str) -> None:
    answer = client.request(method, f"/v2/models/double/versions/{version}{suffix}")
    assert_problem(answer, 404, "version_not_found", "double", version)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}x",
        b"{'inputs': []}",
        b"nonsense",
        b'{"inputs": [NaN]}',
        b'{"inputs": [Infinity]}',
        b'{"inputs": [1,]}',
        b'{"inputs": "\xff"}',
        b"\xff\xfe{\0}\0",
        b'{"inputs": "\n"}',
    ],
    ids=repr,
)
def test_what_is_no_json_is_refused(client: TestClient, body: bytes) -> None:
    assert_problem(client.post(INFER, content=body), 400, "malformed_request")


@pytest.mark.parametrize("body", [b"[]", b"[1, 2]", b"5", b"null", b"true", b'"text"'], ids=bytes.decode)
def test_json_that_is_no_object_is_refused(client: TestClient, body: bytes) -> None:
    assert_problem(client.post(INFER, content=body), 400, "malformed_request")


def test_deep_data_is_read(client: TestClient) -> None:
    assert outputs(infer_nested(client, nested(60, "1"))) == [tensor("y", "FP32", [1, 1], [1.0])]


def test_what_is_ignored_may_be_deep_too(client: TestClient) -> None:
    body = f'{{"inputs": [{json.dumps(ONES)}], "unknown": {nested(90)}}}'
    assert outputs(client.post(INFER, content=body.encode())) == [TWOS]


@pytest.mark.parametrize("depth", [101, 1_000, 100_000])
def test_data_deeper_than_a_hundred_is_refused(client: TestClient, depth: int) -> None:
    assert_problem(infer_nested(client, nested(depth, "1")), 400, "malformed_request")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(nested(101), id="arrays"),
        pytest.param('{"a": ' * 101 + "1" + "}" * 101, id="objects"),
        pytest.param("[" * 1_000_000, id="arrays that never end"),
        pytest.param('{"a": ' * 200_000, id="objects that never end"),
    ],
)
def test_depth_is_refused_wherever_it_is(client: TestClient, text: str) -> None:
    good = json.dumps(ONES)
    answer = client.post(INFER, content=f'{{"inputs": [{good}], "unknown": {text}}}'.encode())
    assert_problem(answer, 400, "malformed_request")


@pytest.mark.parametrize(
    "text", ["[" * 200, '"' + "[" * 200, '\\"' + "{" * 200, "\\" + "[" * 200], ids=["plain", *'"\\n']
)
def test_brackets_in_a_text_are_no_depth(client: TestClient, text: str) -> None:
    answer = client.post(SMALL_INFER, json={"inputs": [tensor("x", "BYTES", [1, 1], [text])]})
    assert outputs(answer) == [tensor("y", "BYTES", [1, 1], [text])]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        None,
    ],
    ids=str,
)
def test_a_media_type_that_people_send_is_read(client: TestClient, media_type: str | None) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    answer = client.post(INFER, content=json.dumps({"inputs": [ONES]}), headers=headers)
    assert outputs(answer) == [TWOS]


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "text/html; charset=utf-8", "application/xml", "multipart/form-data; boundary=x", "json"],
)
def test_another_media_type_is_refused(client: TestClient, media_type: str) -> None:
    answer = client.post(INFER, content=json.dumps({"inputs": [ONES]}), headers={"Content-Type": media_type})
    assert_problem(answer, 415, "unsupported_media", media_type.partition(";")[0])


def test_a_body_of_just_the_limit_is_read(small_client: TestClient) -> None:
    answer = small_client.post(SMALL_INFER, content=padded(SMALL_BODY))
    assert outputs(answer) == [tensor("y", "BYTES", [1, 1], ["a"])]


@pytest.mark.parametrize("size", [SMALL_BODY + 1, 20 * SMALL_BODY])
def test_a_body_over_the_limit_is_too_large(small_client: TestClient, size: int) -> None:
    assert_problem(small_client.post(SMALL_INFER, content=padded(size)), 413, "request_too_large")


def test_a_body_over_the_limit_is_too_large_even_if_it_did_not_say_so(small_client: TestClient) -> None:
    answer = small_client.post(SMALL_INFER, content=iter([padded(SMALL_BODY), b" "]))
    assert_problem(answer, 413, "request_too_large")


def test_a_binary_body_over_the_limit_is_too_large(small_client: TestClient) -> None:
    x = blob_tensor("x", "BYTES", [1, 1], SMALL_BODY)
    blob = (SMALL_BODY - 4).to_bytes(4, "little").ljust(SMALL_BODY, b"a")
    answer = small_client.post(SMALL_INFER, **binary({"inputs": [x]}, blob))
    assert_problem(answer, 413, "request_too_large")


@pytest.mark.parametrize("index", [7, -4, 2**40])
def test_a_model_that_fails_does_not_say_why_to_the_caller(client: TestClient, index: int) -> None:
    answer = client.post("/v2/models/failing/infer", json={"inputs": [tensor("index", "INT64", [1], [index])]})
    assert_problem(answer, 500, "inference_failed")
    for inside in (tiny.SECRET, "Gather", "indices", "ONNXRuntime", "Traceback", "Exception"):
        assert inside not in answer.content.decode()


def test_a_model_that_failed_serves_the_next_request(client: TestClient) -> None:
    for index, status in ((7, 500), (2, 200)):
        answer = client.post("/v2/models/failing/infer", json={"inputs": [tensor("index", "INT64", [1], [index])]})
        assert answer.status_code == status
    assert outputs(answer) == [tensor("row", "FP32", [1, 2], [4.0, 5.0])]


WRONG_TYPE = {"Content-Type": "text/plain"}
WRONG_CODING = {"Content-Encoding": "br"}
TOO_LARGE = {"content": padded(SMALL_BODY + 1)}
MALFORMED = {"content": b"{"}
MISSING: Json = {"json": {"inputs": []}}


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "code"),
    [
        pytest.param("GET", "/v2/models/unheard/infer", {}, 405, "method_not_allowed", id="method, then model"),
        pytest.param(
            "PUT",
            SMALL_INFER,
            {"headers": WRONG_TYPE} | TOO_LARGE,
            405,
            "method_not_allowed",
            id="method, then media type",
        ),
        pytest.param(
            "POST",
            "/v2/models/unheard/infer",
            {"headers": WRONG_TYPE} | MALFORMED,
            404,
            "model_not_found",
            id="model, then media type",
        ),
        pytest.param(
            "POST",
            "/v2/models/unheard/infer",
            TOO_LARGE,
            404,
            "model_not_found",
            id="model, then size",
        ),
        pytest.param(
            "POST",
            "/v2/models/unheard/versions/2/infer",
            MALFORMED,
            404,
            "model_not_found",
            id="model, then version",
        ),
        pytest.param(
            "POST",
            "/v2/models/identity_bytes/versions/2/infer",
            {"headers": WRONG_CODING} | MALFORMED,
            404,
            "version_not_found",
            id="version, then encoding",
        ),
        pytest.param(
            "POST",
            "/v2/models/identity_bytes/versions/latest/infer",
            TOO_LARGE,
            404,
            "version_not_found",
            id="version, then size",
        ),
        pytest.param(
            "POST",
            SMALL_INFER,
            {"headers": WRONG_TYPE} | TOO_LARGE,
            415,
            "unsupported_media",
            id="media type, then size",
        ),
        pytest.param(
            "POST",
            SMALL_INFER,
            {"headers": WRONG_CODING} | TOO_LARGE,
            415,
            "unsupported_media",
            id="encoding, then size",
        ),
        pytest.param(
            "POST",
            SMALL_INFER,
            {"headers": WRONG_TYPE} | MALFORMED,
            415,
            "unsupported_media",
            id="media type, then body",
        ),
        pytest.param(
            "POST",
            SMALL_INFER,
            {"headers": WRONG_CODING} | MALFORMED,
            415,
            "unsupported_media",
            id="encoding, then body",
        ),
        pytest.param(
            "POST",
            SMALL_INFER,
            {"content": b"{".ljust(SMALL_BODY + 1)},
            413,
            "request_too_large",
            id="size, then body",
        ),
        pytest.param(
            "POST",
            SMALL_INFER,
            {"content": b"{".ljust(SMALL_BODY + 1), "headers": {HEADER_LENGTH: "nonsense"}},
            413,
            "request_too_large",
            id="size, then header length",
        ),
        pytest.param("POST", SMALL_INFER, MISSING, 400, "signature_mismatch", id="the body last"),
    ],
)
def test_the_first_check_decides(
    small_client: TestClient, method: str, path: str, request_: dict[str, Any], status: int, code: str
) -> None:
    assert_problem(small_client.request(method, path, **request_), status, code)
