"""The request that is sent: given, documented, or made up until the model takes it."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.bench import sample
from service.bench.failures import BenchFailed
from service.bench.sample import Sample
from service.bench.target import Target
from tests.unit.bench.peer import Answer, Asked, answer, model, serving

INPUTS = {"x": ("FP32", [-1, 2]), "n": ("INT64", [-1]), "t": ("BYTES", [1])}
DOCUMENTED = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [3, 4]}]}


def data(body: bytes) -> dict[str, Any]:
    return {tensor["name"]: tensor["data"] for tensor in json.loads(body)["inputs"]}


def documented(infer: Answer) -> Answer:
    """The same with a document that has an example."""
    plain = model(infer, x=("FP32", [-1, 2]))
    content = {"application/json": {"example": DOCUMENTED}}
    document = {"paths": {"/v2/models/cat/infer": {"post": {"requestBody": {"content": content}}}}}
    return lambda request: answer(200, document) if request.path == "/openapi.json" else plain(request)


def test_what_the_service_documents_is_sent_first() -> None:
    with serving(documented(lambda _: answer(200))) as peer:
        found = sample.found(Target(peer.endpoint, "cat"), None, is_binary=False)
    assert data(found.body) == {"x": [3, 4]}
    assert found.what == f"x FP32[1,2], {len(found.body)} bytes of JSON, the example of its /openapi.json"


def test_without_a_document_it_is_made_of_the_signature() -> None:
    with serving(model(lambda _: answer(200), **INPUTS)) as peer:
        found = sample.found(Target(peer.endpoint, "cat"), None, is_binary=False)
    values = data(found.body)
    assert all(0 < value < 1 for value in values.pop("x"))
    assert values == {"n": [1], "t": ["text"]}
    assert found.what.endswith("random numbers")


def test_it_is_made_up_until_the_model_takes_it() -> None:
    def zeros_only(request: Asked) -> bytes:
        return answer(200) if data(request.body)["n"] == [0] else answer(400, {"error": "0 is expected"})

    with serving(model(zeros_only, **INPUTS)) as peer:
        found = sample.found(Target(peer.endpoint, "cat"), None, is_binary=False)
    assert data(found.body) == {"x": [0, 0], "n": [0], "t": ["text"]}


def test_a_model_that_answers_errors_only_is_a_sentence() -> None:
    with (
        serving(model(lambda _: answer(500, {"error": "the model failed"}), **INPUTS)) as peer,
        pytest.raises(BenchFailed) as failed,
    ):
        sample.found(Target(peer.endpoint, "cat"), None, is_binary=False)
    assert str(failed.value) == (
        "model 'cat' answers errors only to what was made up for it, at last 500: the model failed; give a request "
        "that it takes with --input FILE"
    )


def test_tensors_may_be_sent_as_bytes() -> None:
    with serving(documented(lambda _: answer(200))) as peer:
        target = Target(peer.endpoint, "cat", headers={"host": "cats", "x-key": "1"})
        found = sample.found(target, None, is_binary=True)
        http = found.as_http(target)
    head, _, body = http.partition(b"\r\n\r\n")
    assert body == found.body
    assert body.endswith(b"\x00\x00\x40\x40\x00\x00\x80\x40")
    assert head.decode().splitlines() == [
        "POST /v2/models/cat/infer HTTP/1.1",
        "host: cats",
        "content-type: application/json",
        "x-key: 1",
        f"Inference-Header-Content-Length: {len(body) - 8}",
        f"Content-Length: {len(body)}",
    ]
    assert peer.asked[-1].headers["inference-header-content-length"] == str(len(body) - 8)


def test_what_was_given_is_sent_as_it_is() -> None:
    given = sample.read(Path("cat.json"), json.dumps(DOCUMENTED).encode())
    assert given == Sample(json.dumps(DOCUMENTED).encode(), {}, "x FP32[1,2], from cat.json")
    with serving(model(lambda _: answer(200), **INPUTS)) as peer:
        assert sample.found(Target(peer.endpoint, "cat"), given, is_binary=False) is given


def test_what_was_given_and_is_not_taken_is_a_sentence() -> None:
    given = sample.read(Path("cat.json"), json.dumps(DOCUMENTED).encode())
    refusing = model(lambda _: answer(400, {"error": "input 'n' is missing"}), **INPUTS)
    with serving(refusing) as peer, pytest.raises(BenchFailed) as failed:
        sample.found(Target(peer.endpoint, "cat"), given, is_binary=False)
    assert str(failed.value) == "x FP32[1,2], from cat.json: model 'cat' answers 400: input 'n' is missing"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"inputs":[1]}', b'{"inputs":[{"name":"x"}]}'])
def test_what_is_no_request_is_a_sentence(content: bytes) -> None:
    with pytest.raises(BenchFailed, match=r"^cat\.json: expected the Open Inference Protocol's request as JSON"):
        sample.read(Path("cat.json"), content)
