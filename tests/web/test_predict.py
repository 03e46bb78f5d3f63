"""The typed endpoint through the whole app: a caller's own JSON in, predictions out, with a transform and without."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.oip import Json, assert_problem
from tests.web.conftest import Serve

ONES = {"a": [1] * 16, "b": [2] * 16}
SUM, DIFFERENCE = [3] * 16, [-1] * 16
ROUTE = "/v1/models/{model_name}:predict"
PETALS = """
import numpy as np
from pydantic import BaseModel

from service.engine.transform import BadInstance


class Petals:
    class Instance(BaseModel):
        length: float
        width: float

    class Prediction(BaseModel):
        area: float

    media_types = ("text/csv",)

    def read(self, body, media_type):
        try:
            length, width = map(float, body.split(b","))
        except ValueError:
            raise BadInstance("expected two numbers") from None
        return self.Instance(length=length, width=width)

    def before(self, instances):
        for index, petal in enumerate(instances):
            if petal.width > petal.length:
                raise BadInstance("no petal is wider than long", index)
        return {"x": np.array([[petal.length, petal.width] for petal in instances], np.float32)}

    def after(self, outputs):
        if (outputs["y"] < 0).any():
            raise ValueError("a secret")
        return [{"area": length * width} for length, width in outputs["y"]]
"""


@pytest.fixture
def petals(tmp_path: Path, serve: Serve) -> Iterator[TestClient]:
    """A client of a model with a transform."""
    models = tiny.repository(tmp_path, petals=tiny.identity("FP32"))
    (models / "petals" / "transform.py").write_text(PETALS)
    with serve(models) as client:
        yield client


def predict(client: TestClient, model: str, document: Any, **headers: str) -> Any:
    answer = client.post(f"/v1/models/{model}:predict", json=document, headers=headers)
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize(
    ("model", "document", "answer"),
    [
        ("double", {"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]}, {"predictions": [[2, 4, 6, 8], [10, 12, 14, 16]]}),
        ("double", {"instances": [{"x": [1, 2, 3, 4]}]}, {"predictions": [[2, 4, 6, 8]]}),
        ("double", {"instances": []}, {"predictions": []}),
        ("double/versions/1", {"inputs": [[1, 2, 3, 4]]}, {"outputs": [[2, 4, 6, 8]]}),
        ("add_sub", {"instances": [ONES]}, {"predictions": [{"sum": SUM, "difference": DIFFERENCE}]}),
        (
            "add_sub",
            {"inputs": {name: [row] for name, row in ONES.items()}, "signature_name": "serving_default"},
            {"outputs": {"sum": [SUM], "difference": [DIFFERENCE]}},
        ),
        ("identity_bytes", {"instances": [["a"], [{"b64": "w7w="}]]}, {"predictions": [["a"], ["ü"]]}),
        ("identity_fp16", {"instances": [[0.1], [2]]}, {"predictions": [[0.099975586], [2]]}),
        ("identity_uint64", {"instances": [[2**64 - 1]]}, {"predictions": [[2**64 - 1]]}),
        (
            "reciprocal",
            {"instances": [[0], [1]]},
            {"predictions": [{"reciprocal": [None], "log": [None]}, {"reciprocal": [1], "log": [0]}]},
        ),
        ("scalar", {"inputs": 5}, {"outputs": 10}),
        ("two_free", {"inputs": {"a": [1, 2], "b": [3]}}, {"outputs": [[3], [6]]}),
    ],
)
def test_a_model_answers_in_the_form_that_it_is_asked_in(
    client: TestClient, model: str, document: Json, answer: Json
) -> None:
    assert predict(client, model, document) == answer


def test_a_request_counts_as_any_other(client: TestClient) -> None:
    def counted() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    before = counted()
    answer = client.post("/v1/models/double:predict", json={"instances": [[1] * 4] * 3}, headers={"X-Request-ID": "7"})
    assert (answer.headers["Content-Type"], answer.headers["X-Request-ID"]) == ("application/json", "7")
    assert re.fullmatch(r"decode;dur=\S+, queue;dur=\S+, run;dur=\S+, encode;dur=\S+", answer.headers["Server-Timing"])
    for series in (
        f'onnicorn_http_requests_total{{method="POST",route="{ROUTE}",status="200"}}',
        'onnicorn_inference_requests_total{model="double",outcome="ok",version="1"}',
        'onnicorn_inference_encode_seconds_count{model="double",version="1"}',
    ):
        assert counted()[series] == before[series] + 1


@pytest.mark.parametrize(
    ("model", "document", "status", "code", "mentioned"),
    [
        ("nobody", {}, 404, "model_not_found", "nobody"),
        ("double/versions/2", {}, 404, "version_not_found", "2"),
        ("double:predict", {}, 404, "model_not_found", "double:predict"),
        ("double/versions/:", {}, 404, "version_not_found", ":"),
        ("double", {}, 400, "malformed_request", "instances"),
        ("double", {"instances": [[1, 2, 3, 4], [1, 2, 3, "x"]]}, 400, "malformed_request", "instances[1][3]"),
        ("double", {"instances": [[1, 2, 3]]}, 400, "signature_mismatch", "instances[0]"),
        ("add_sub", {"instances": [ONES | {"a": "x"}]}, 400, "malformed_request", "instances[0].a"),
        ("scalar", {"instances": [1]}, 400, "malformed_request", "inputs"),
        ("failing", {"instances": [9]}, 500, "inference_failed", "failing"),
    ],
)
def test_a_refusal_is_a_problem(
    client: TestClient, model: str, document: Json, status: int, code: str, mentioned: str
) -> None:
    answer = client.post(f"/v1/models/{model}:predict", json=document)
    assert_problem(answer, status, code)
    assert mentioned in answer.json()["error"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_predictions_are_posted_for(client: TestClient, method: str) -> None:
    answer = client.request(method, "/v1/models/double:predict")
    assert_problem(answer, 405, "method_not_allowed", "POST")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["double:predict/", "double:predicted", ":predict", "double/predict", "a/b:predict"])
def test_other_paths_are_nobodys(client: TestClient, path: str) -> None:
    assert client.post(f"/v1/models/{path}").status_code in (404, 405)


def test_a_timeout_is_a_deadline(client: TestClient) -> None:
    instances = {"instances": [[1] * 4]}
    answer = client.post("/v1/models/double:predict", json=instances, headers={"X-Request-Timeout-Ms": "0.001"})
    assert_problem(answer, 504, "deadline_exceeded")
    answer = client.post("/v1/models/double:predict", json=instances | {"parameters": {"timeout": 1}})
    assert_problem(answer, 504, "deadline_exceeded")


@pytest.mark.parametrize("rows", [1, 30_000])
def test_an_answer_may_be_compressed(client: TestClient, rows: int) -> None:
    """A long body is read, and a long answer written, beside the event loop."""
    document = {"instances": [[1, 2, 3, 4]] * rows}
    assert predict(client, "double", document, accept_encoding="gzip") == {"predictions": [[2, 4, 6, 8]] * rows}


def test_a_body_is_no_longer_than_allowed(small_client: TestClient) -> None:
    answer = small_client.post("/v1/models/identity_bytes:predict", json={"instances": [["a" * 70_000]]})
    assert_problem(answer, 413, "request_too_large")


def test_a_smaller_model_answers_where_that_is_allowed(tmp_path: Path, serve: Serve) -> None:
    models = tiny.repository(tmp_path, large=tiny.double(), small=tiny.double())
    (models / "large" / "model.toml").write_text('fallback = "small"\ninline = false\n')
    asked = {"instances": [[1] * 4], "parameters": {"allow_fallback": True}}
    with serve(models) as client:
        assert predict(client, "large", asked) == {"predictions": [[2] * 4]}


def for_openai(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": "onnicorn"}


@pytest.mark.parametrize(
    ("path", "status", "document"),
    [
        ("", 200, {"models": ["cat", "scalar"], "object": "list", "data": [for_openai("cat"), for_openai("scalar")]}),
        ("/cat", 200, {"name": "cat", "ready": True, "model_version_status": ["2", "1 END"]}),
        ("/cat/versions/2", 200, {"name": "cat", "ready": True, "model_version_status": ["2"]}),
        ("/cat/versions/1", 503, {"name": "cat", "ready": False, "model_version_status": ["1 END"]}),
        ("/dog", 503, {"name": "dog", "ready": False, "model_version_status": ["1 END"]}),
    ],
)
def test_models_are_listed_as_v1_has_them(tmp_path: Path, serve: Serve, path: str, status: int, document: Json) -> None:
    models = tiny.repository(tmp_path, scalar=tiny.scalar())
    tiny.write(tiny.double(), models, "cat", 2)
    for broken in (models / "cat" / "1", models / "dog" / "1"):
        broken.mkdir(parents=True)
        (broken / "model.onnx").write_bytes(b"broken")
    (models / "cat" / "model.toml").write_text('versions = "all"')
    states = {
        "2": {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
        "1 END": {
            "version": "1",
            "state": "END",
            "status": {
                "error_code": "UNKNOWN",
                "error_message": "it could not be loaded; POST /v2/repository/index has the reason",
            },
        },
    }
    if "model_version_status" in document:
        statuses = [states[each] for each in document["model_version_status"]]
        document = document | {"model_version_status": statuses} | for_openai(document["name"])
    with serve(models, repository={"path": str(models), "tolerate_failures": True}) as client:
        answer = client.get(f"/v1/models{path}")
    assert (answer.status_code, answer.json()) == (status, document)


@pytest.mark.parametrize(("path", "code"), [("nobody", "model_not_found"), ("double/versions/9", "version_not_found")])
def test_what_is_not_served_is_not_found(client: TestClient, path: str, code: str) -> None:
    assert_problem(client.get(f"/v1/models/{path}"), 404, code)


def test_a_transform_takes_and_gives_what_it_says(petals: TestClient) -> None:
    instances = [{"length": 2, "width": 1.5}, {"length": 4, "width": 3}]
    assert predict(petals, "petals", {"instances": instances}) == {"predictions": [{"area": 3}, {"area": 12}]}
    assert predict(petals, "petals", {"instances": []}) == {"predictions": []}


def test_a_transform_reads_bodies_of_its_own_media_types(petals: TestClient, client: TestClient) -> None:
    headers = {"Content-Type": "text/csv; charset=utf-8"}
    answer = petals.post("/v1/models/petals:predict", content=b"4,3", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [{"area": 12}]})
    answer = petals.post("/v1/models/petals:predict", content=b"4", headers=headers)
    assert_problem(answer, 400, "malformed_request")
    assert answer.json()["error"] == "body: expected two numbers"
    answer = petals.post("/v1/models/petals:predict", content=b"4", headers={"Content-Type": "text/plain"})
    assert_problem(answer, 415, "unsupported_media", "text/csv")
    answer = client.post("/v1/models/double:predict", content=b"4", headers=headers)
    assert_problem(answer, 415, "unsupported_media")


@pytest.mark.parametrize(
    ("document", "status", "code", "sentence"),
    [
        (
            {"instances": [{"length": 1, "width": "x"}]},
            400,
            "malformed_request",
            'instances[0].width: expected a number, got "x"',
        ),
        (
            {"instances": [{"length": 2, "width": 1}, {"length": 1, "width": 2}]},
            400,
            "malformed_request",
            "instances[1]: no petal is wider than long",
        ),
        (
            {"inputs": []},
            400,
            "malformed_request",
            "'instances': expected an array of what the model's transform takes, got 'inputs'",
        ),
        (
            {"instances": [{"length": -1, "width": -2}]},
            500,
            "transform_failed",
            "the transform of model 'petals' version 1 failed; the log has the reason",
        ),
    ],
)
def test_what_a_transform_refuses_is_a_problem(
    petals: TestClient, document: Json, status: int, code: str, sentence: str
) -> None:
    answer = petals.post("/v1/models/petals:predict", json=document)
    assert_problem(answer, status, code)
    assert answer.json()["error"] == sentence


def test_long_instances_are_read_beside_the_event_loop(petals: TestClient) -> None:
    instances = [{"length": 2, "width": 1}] * 5000
    assert len(json.dumps(instances)) > 64 << 10
    assert predict(petals, "petals", {"instances": instances}) == {"predictions": [{"area": 2}] * 5000}
