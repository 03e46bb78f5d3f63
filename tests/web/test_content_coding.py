"""Compressed requests and answers: what is read, what is sent, and when."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.oip import (
    HEADER_LENGTH,
    Json,
    assert_problem,
    binary,
    blob_tensor,
    length_prefixed,
    outputs,
    tensor,
)
from tests.web.conftest import SMALL_BODY

CODINGS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
}
INFER = "/v2/models/identity_bytes/infer"
LONG = "abc" * 1_000

every_coding = pytest.mark.parametrize("coding", CODINGS)


def text(value: str) -> Json:
    return {"inputs": [tensor("x", "BYTES", [1, 1], [value])]}


def post_coded(client: TestClient, coding: str, body: bytes, **headers: str) -> Any:
    return client.post(INFER, content=body, headers={"Content-Encoding": coding} | headers)


def as_sent(client: TestClient, accepted: str, **request: Any) -> tuple[Any, bytes]:
    """The answer to a POST, and its body as it came over the wire."""
    headers = request.pop("headers", {}) | {"Accept-Encoding": accepted}
    with client.stream("POST", request.pop("url", INFER), headers=headers, **request) as answer:
        return answer, b"".join(answer.iter_raw())


@every_coding
def test_a_compressed_json_request_is_read(client: TestClient, coding: str) -> None:
    compress, _ = CODINGS[coding]
    answer = post_coded(client, coding, compress(json.dumps(text("hello")).encode()))
    assert outputs(answer) == [tensor("y", "BYTES", [1, 1], ["hello"])]


@every_coding
def test_a_compressed_binary_request_is_split_after_decompression(client: TestClient, coding: str) -> None:
    compress, _ = CODINGS[coding]
    blob = length_prefixed(b"hello", b"world")
    request = binary({"inputs": [blob_tensor("x", "BYTES", [1, 2], len(blob))]}, blob)
    answer = post_coded(client, coding, compress(request["content"]), **request["headers"])
    assert outputs(answer) == [tensor("y", "BYTES", [1, 2], ["hello", "world"])]


@every_coding
def test_a_compressed_raw_request_is_read(client: TestClient, coding: str) -> None:
    compress, _ = CODINGS[coding]
    answer = post_coded(client, coding, compress(b"hello"), **{HEADER_LENGTH: "0"})
    assert answer.content.endswith(length_prefixed(b"hello"))


@pytest.mark.parametrize("coding", ["GZIP", "Deflate", "identity"])
def test_a_codings_name_is_any_case_and_identity_is_none(client: TestClient, coding: str) -> None:
    compress, _ = CODINGS.get(coding.lower(), (bytes, bytes))
    answer = post_coded(client, coding, compress(json.dumps(text("hello")).encode()))
    assert outputs(answer) == [tensor("y", "BYTES", [1, 1], ["hello"])]


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "nonsense"])
def test_another_coding_is_refused_with_those_that_are_known(client: TestClient, coding: str) -> None:
    answer = post_coded(client, coding, json.dumps(text("hello")).encode())
    assert_problem(answer, 415, "unsupported_media", coding)
    assert answer.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _: b"not compressed at all", id="something else"),
        pytest.param(lambda _: b"", id="nothing"),
        pytest.param(lambda body: body[:-1], id="a byte is missing"),
        pytest.param(lambda body: body[: len(body) // 2], id="half is missing"),
        pytest.param(lambda body: body[:5], id="half a header"),
        pytest.param(lambda body: body[:-5] + bytes([body[-5] ^ 1]) + body[-4:], id="a bit is wrong"),
    ],
)
@every_coding
def test_what_cannot_be_decompressed_is_refused(
    client: TestClient, coding: str, spoil: Callable[[bytes], bytes]
) -> None:
    compress, _ = CODINGS[coding]
    answer = post_coded(client, coding, spoil(compress(json.dumps(text("hello")).encode())))
    assert_problem(answer, 400, "malformed_request")


@every_coding
def test_the_limit_counts_what_was_decompressed(small_client: TestClient, coding: str) -> None:
    compress, _ = CODINGS[coding]
    body = json.dumps(text("hello")).encode()
    just = post_coded(small_client, coding, compress(body.ljust(SMALL_BODY)))
    assert outputs(just) == [tensor("y", "BYTES", [1, 1], ["hello"])]
    over = post_coded(small_client, coding, compress(body.ljust(SMALL_BODY + 1)))
    assert_problem(over, 413, "request_too_large")


@every_coding
def test_a_bomb_is_too_large(small_client: TestClient, coding: str) -> None:
    compress, _ = CODINGS[coding]
    bomb = compress(bytes(40_000_000))
    assert len(bomb) < SMALL_BODY
    assert_problem(post_coded(small_client, coding, bomb), 413, "request_too_large")


@every_coding
def test_what_is_too_large_as_it_comes_is_not_decompressed(small_client: TestClient, coding: str) -> None:
    compress, _ = CODINGS[coding]
    noise = np.random.default_rng(7).bytes(SMALL_BODY + 1)
    assert_problem(post_coded(small_client, coding, compress(noise)), 413, "request_too_large")


@every_coding
def test_a_client_that_names_one_coding_gets_it(client: TestClient, coding: str) -> None:
    _, decompress = CODINGS[coding]
    answer, sent = as_sent(client, coding, json=text("short") | {"id": "mine"})
    assert answer.headers["Content-Encoding"] == coding
    assert answer.headers["Content-Length"] == str(len(sent))
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(decompress(sent)) == {
        "model_name": "identity_bytes",
        "model_version": "1",
        "id": "mine",
        "outputs": [tensor("y", "BYTES", [1, 1], ["short"])],
    }


@every_coding
@pytest.mark.parametrize("value", ["short", LONG], ids=["short", "long"])
def test_the_header_length_of_a_compressed_answer_counts_plain_bytes(
    client: TestClient, coding: str, value: str
) -> None:
    _, decompress = CODINGS[coding]
    request = text(value) | {"parameters": {"binary_data_output": True}}
    answer, sent = as_sent(client, coding, json=request)
    assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, coding)
    plain = decompress(sent)
    end = int(answer.headers[HEADER_LENGTH])
    blob = length_prefixed(value.encode())
    assert json.loads(plain[:end])["outputs"] == [blob_tensor("y", "BYTES", [1, 1], len(blob))]
    assert plain[end:] == blob


@pytest.mark.parametrize("accepted", ["gzip, deflate", "deflate,gzip", "gzip, deflate, br, zstd"])
def test_a_client_that_lists_codings_gets_one_for_a_long_answer_only(client: TestClient, accepted: str) -> None:
    short, _ = as_sent(client, accepted, json=text("short"))
    assert "Content-Encoding" not in short.headers
    long, sent = as_sent(client, accepted, json=text(LONG))
    _, decompress = CODINGS[long.headers["Content-Encoding"]]
    assert json.loads(decompress(sent))["outputs"] == [tensor("y", "BYTES", [1, 1], [LONG])]
    assert len(sent) < len(LONG)


def test_an_answer_of_one_kibibyte_is_long(client: TestClient) -> None:
    request = text("value")
    shortest = len(client.post(INFER, json=request | {"id": "x"}).content)
    just, over = ("x" * (1 + size - shortest) for size in (1_023, 1_024))
    assert "Content-Encoding" not in as_sent(client, "gzip, deflate", json=request | {"id": just})[0].headers
    assert "Content-Encoding" in as_sent(client, "gzip, deflate", json=request | {"id": over})[0].headers


@pytest.mark.parametrize("accepted", ["identity", "br", "zstd, br", "gzip;q=0", "gzip;q=0, deflate;q=0"])
def test_a_client_that_accepts_no_known_coding_gets_none(client: TestClient, accepted: str) -> None:
    answer, sent = as_sent(client, accepted, json=text(LONG))
    assert "Content-Encoding" not in answer.headers
    assert json.loads(sent)["outputs"] == [tensor("y", "BYTES", [1, 1], [LONG])]


@pytest.mark.parametrize("accepted", ["gzip", "deflate", "gzip, deflate, br"])
def test_a_problem_is_never_compressed(client: TestClient, accepted: str) -> None:
    """tritonclient reads the body of an error as it comes, whatever its coding."""
    unknown = tensor("x" * 2_000, "BYTES", [1, 1], ["a"])
    answer, sent = as_sent(client, accepted, json={"inputs": [unknown]})
    assert (answer.status_code, "Content-Encoding" in answer.headers) == (400, False)
    assert json.loads(sent)["code"] == "signature_mismatch"


@pytest.mark.parametrize("path", ["/v2/repository/index"])
def test_only_an_answer_of_infer_is_compressed(client: TestClient, path: str) -> None:
    """tritonclient.http.aio lists codings with every request, and undoes them for infer alone."""
    answer, sent = as_sent(client, "gzip, deflate, br", url=path)
    assert (answer.status_code, "Content-Encoding" in answer.headers) == (200, False)
    assert len(sent) > 1_024
    assert {row["state"] for row in json.loads(sent)} == {"READY"}


def test_codings_may_stand_in_several_lines(client: TestClient) -> None:
    body = gzip.compress(zlib.compress(json.dumps(text(LONG)).encode()))
    lines = [("Content-Encoding", "deflate"), ("Content-Encoding", "gzip")]
    assert outputs(client.post(INFER, content=body, headers=lines))[0]["data"] == [LONG]


@pytest.mark.parametrize(
    ("lines", "status", "code", "said"),
    [
        (
            [("X-Request-Timeout-Ms", "0.001"), ("X-Request-Timeout-Ms", "60000")],
            400,
            "malformed_request",
            "0.001, 60000",
        ),
        ([(HEADER_LENGTH, "5"), (HEADER_LENGTH, "5")], 400, "malformed_request", "5, 5"),
        (
            [("Content-Type", "text/plain"), ("Content-Type", "application/json")],
            415,
            "unsupported_media",
            "text/plain",
        ),
    ],
)
def test_where_one_value_is_expected_two_are_refused(
    client: TestClient, lines: list[tuple[str, str]], status: int, code: str, said: str
) -> None:
    answer = client.post(INFER, content=json.dumps(text("a")), headers=lines)
    assert_problem(answer, status, code, said)
