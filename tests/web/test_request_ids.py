"""Every request has an id and a trace: the caller's if it is a good one, else ours."""

import re
import uuid
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.oip import assert_problem, tensor
from tests.web.conftest import SMALL_BODY

INFER = "/v2/models/double/infer"
GOOD = {"inputs": [tensor("x", "FP32", [1, 4], [1, 1, 1, 1])]}
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def is_ours(request_id: str) -> bool:
    """Whether it is a UUIDv7 as we write it."""
    return str(uuid.UUID(request_id)) == request_id and uuid.UUID(request_id).version == 7


@pytest.mark.parametrize(
    "request_id",
    ["a", "0", "trace-1", "A.b_c:d-9", "-", str(uuid.UUID(int=1)), "x" * 128],
)
def test_a_good_request_id_is_kept(client: TestClient, request_id: str) -> None:
    answer = client.post(INFER, json=GOOD, headers={"X-Request-ID": request_id})
    assert (answer.headers["X-Request-ID"], answer.json()["id"]) == (request_id, request_id)


@pytest.mark.parametrize(
    "request_id",
    [
        "",
        "x" * 129,
        "two words",
        "semi;colon",
        "a/b",
        "a,b",
        "<script>",
        'quo"te',
        "a\tb",
        "a=b",
        "{}",
        "ümlaut",
    ],
    ids=ascii,
)
def test_another_request_id_is_replaced(client: TestClient, request_id: str) -> None:
    answer = client.post(INFER, json=GOOD, headers=[(b"X-Request-ID", request_id.encode())])
    assert answer.status_code == 200
    assert is_ours(answer.headers["X-Request-ID"])
    assert answer.json()["id"] == answer.headers["X-Request-ID"]


def test_a_request_without_an_id_gets_one_of_its_own(client: TestClient) -> None:
    ids = [client.post(INFER, json=GOOD).headers["X-Request-ID"] for _ in range(3)]
    assert all(map(is_ours, ids))
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2"),
        ("GET", "/v2/health/live"),
        ("HEAD", "/v2/health/ready"),
        ("GET", "/v2/models"),
        ("GET", "/v2/models/double"),
        ("GET", "/v2/models/double/ready"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_every_route_echoes_the_request_id(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"X-Request-ID": "trace-1"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (200, "trace-1")


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "the caller's"])
@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("GET", INFER, {}, 405, "method_not_allowed"),
        ("GET", "/v2/models/unheard", {}, 404, "model_not_found"),
        ("GET", "/v2/models/double/versions/9", {}, 404, "version_not_found"),
        ("POST", INFER, {"content": b"{"}, 400, "malformed_request"),
        ("POST", INFER, {"json": {"inputs": []}}, 400, "signature_mismatch"),
        (
            "POST",
            "/v2/models/failing/infer",
            {"json": {"inputs": [tensor("index", "INT64", [1], [7])]}},
            500,
            "inference_failed",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" not in value else "",
)
def test_a_problem_carries_the_request_id(
    client: TestClient,
    method: str,
    path: str,
    request_: dict[str, Any],
    status: int,
    code: str,
    ours: bool,
) -> None:
    headers = {} if ours else {"X-Request-ID": "trace-1"}
    answer = client.request(method, path, headers=headers, **request_)
    assert_problem(answer, status, code)
    request_id = answer.json()["request_id"]
    assert is_ours(request_id) if ours else request_id == "trace-1"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b" " * (SMALL_BODY + 1)}, 413, "request_too_large"),
        ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_media"),
        ({"content": b"{}", "headers": {"Content-Encoding": "br"}}, 415, "unsupported_media"),
    ],
    ids=["size", "media type", "encoding"],
)
def test_a_problem_at_the_door_carries_the_request_id(
    small_client: TestClient, request_: dict[str, Any], status: int, code: str
) -> None:
    headers = request_.get("headers", {}) | {"X-Request-ID": "trace-1"}
    answer = small_client.post("/v2/models/identity_bytes/infer", **request_ | {"headers": headers})
    assert_problem(answer, status, code)
    assert answer.json()["request_id"] == "trace-1"


@pytest.mark.parametrize("id_", ["mine", "two words", 'Grüße\n"世界" \u0000', "x" * 1_000], ids=ascii)
def test_the_id_of_the_body_is_answered_in_the_body(client: TestClient, id_: str) -> None:
    answer = client.post(INFER, json=GOOD | {"id": id_}, headers={"X-Request-ID": "trace-1"})
    assert (answer.json()["id"], answer.headers["X-Request-ID"]) == (id_, "trace-1")


def test_a_problem_carries_the_request_id_and_not_the_id_of_the_body(client: TestClient) -> None:
    answer = client.post(INFER, json={"inputs": [], "id": "mine"}, headers={"X-Request-ID": "trace-1"})
    assert_problem(answer, 400, "signature_mismatch")
    assert answer.json()["request_id"] == "trace-1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", INFER, 200), ("GET", "/v2/models/double", 200), ("GET", "/v2/models/unheard", 404)],
)
@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_trace_goes_on_in_a_span_of_its_own(
    client: TestClient, method: str, path: str, status: int, flags: str
) -> None:
    request: dict[str, Any] = {"json": GOOD} if method == "POST" else {}
    headers = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-{flags}"}
    spans = set()
    for _ in range(2):
        answer = client.request(method, path, headers=headers, **request)
        assert answer.status_code == status
        found = TRACEPARENT.fullmatch(answer.headers["traceparent"])
        assert found
        assert found[1] == TRACE_ID
        spans.add(found[2])
    assert len(spans | {SPAN_ID, "0" * 16}) == 4


def test_the_trace_of_a_later_version_goes_on(client: TestClient) -> None:
    headers = {"traceparent": f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-will-bring"}
    found = TRACEPARENT.fullmatch(client.get("/v2", headers=headers).headers["traceparent"])
    assert found
    assert found[1] == TRACE_ID


@pytest.mark.parametrize(
    "traceparent",
    [
        pytest.param("nonsense", id="nonsense"),
        pytest.param("", id="empty"),
        pytest.param(f"00-{'0' * 32}-{SPAN_ID}-01", id="no trace"),
        pytest.param(f"00-{TRACE_ID}-{'0' * 16}-01", id="no span"),
        pytest.param(f"ff-{TRACE_ID}-{SPAN_ID}-01", id="a version that cannot be"),
        pytest.param(f"00-{TRACE_ID.upper()}-{SPAN_ID}-01", id="upper case"),
        pytest.param(f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01", id="too short"),
        pytest.param(f"00-{TRACE_ID}-{SPAN_ID}-01-more", id="too long for its version"),
        pytest.param(f"00-{TRACE_ID}-{SPAN_ID}", id="no flags"),
    ],
)
def test_a_trace_that_cannot_be_read_is_not_continued(client: TestClient, traceparent: str) -> None:
    answer = client.post(INFER, json=GOOD, headers={"traceparent": traceparent})
    assert answer.status_code == 200
    if "traceparent" in answer.headers:
        found = TRACEPARENT.fullmatch(answer.headers["traceparent"])
        assert found
        assert found[1] not in {TRACE_ID, "0" * 32}
