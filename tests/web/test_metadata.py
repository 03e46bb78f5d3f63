"""What the server says about itself and its models, and which models it refuses to serve."""

import hashlib
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from service import __version__
from service.telemetry.logs import AlreadyLogged
from tests import tiny
from tests.oip import Json, assert_problem
from tests.operators import build, needs_a_compiler, times
from tests.transforms import LISTS
from tests.web.conftest import Serve


def sha256(model: onnx.ModelProto) -> str:
    return hashlib.sha256(model.SerializeToString()).hexdigest()


def io(name: str, datatype: str, *shape: int) -> Json:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


SIGNATURES: dict[str, tuple[list[Json], list[Json]]] = {
    **{
        f"identity_{datatype.lower()}": ([io("x", datatype, -1, -1)], [io("y", datatype, -1, -1)])
        for datatype in tiny.DATATYPES
    },
    "double": ([io("x", "FP32", -1, 4)], [io("y", "FP32", -1, 4)]),
    "add_sub": (
        [io("a", "INT32", -1, 16), io("b", "INT32", -1, 16)],
        [io("sum", "INT32", -1, 16), io("difference", "INT32", -1, 16)],
    ),
    "scalar": ([io("x", "FP32")], [io("y", "FP32")]),
    "fixed": ([io("x", "FP32", 1, 3)], [io("y", "FP32", 1, 3)]),
    "reciprocal": ([io("x", "FP32", -1, -1)], [io("reciprocal", "FP32", -1, -1), io("log", "FP32", -1, -1)]),
    "gather_words": ([io("index", "INT64", -1)], [io("word", "BYTES", -1)]),
    "failing": ([io("index", "INT64", -1)], [io("row", "FP32", -1, 2)]),
    "two_free": ([io("a", "FP32", -1), io("b", "FP32", -1)], [io("outer", "FP32", -1, -1)]),
}


def test_the_server_names_itself_its_version_and_its_extensions(client: TestClient) -> None:
    answer = client.get("/v2")
    extensions = answer.json()["extensions"]
    assert answer.json() == {"name": "onnicorn", "version": __version__, "extensions": extensions}
    assert "binary_tensor_data" in extensions
    assert len(set(extensions)) == len(extensions)


def test_a_live_server_says_so(client: TestClient) -> None:
    answer = client.get("/v2/health/live")
    assert (answer.status_code, answer.json()) == (200, {"live": True})


def test_a_ready_server_says_so(client: TestClient) -> None:
    answer = client.get("/v2/health/ready")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_a_probe_need_not_want_the_body(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_models_are_listed_by_name(client: TestClient) -> None:
    assert client.get("/v2/models").json() == {"models": sorted(SIGNATURES)}


@pytest.mark.parametrize("version", ["", "/versions/1"], ids=["default", "named"])
@pytest.mark.parametrize("model", SIGNATURES)
def test_a_model_shows_its_signature(client: TestClient, model: str, version: str) -> None:
    inputs, outputs = SIGNATURES[model]
    answer = client.get(f"/v2/models/{model}{version}")
    assert answer.status_code == 200
    assert answer.json() == {
        "name": model,
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": inputs,
        "outputs": outputs,
        "parameters": {"digest": sha256(tiny.servable()[model]), "verified": False},
    }


@needs_a_compiler
def test_a_model_shows_the_libraries_that_it_runs_with(serve: Serve, tmp_path: Path) -> None:
    library = build(tmp_path / "libtimes.so")
    repository = tiny.repository(tmp_path / "models", times=times())
    (repository / "times" / "model.toml").write_text(f'[session]\ncustom_operators = ["{library}"]')
    with serve(repository, runtime={"custom_operators": [str(library)]}) as client:
        shown = client.get("/v2/models/times").json()["parameters"]
    assert shown == {
        "digest": sha256(times()),
        "verified": False,
        "operator_digests": [hashlib.sha256(library.read_bytes()).hexdigest()],
    }


def test_a_model_shows_the_code_that_it_brings(serve: Serve, tmp_path: Path) -> None:
    repository = tiny.repository(tmp_path / "models", double=tiny.double())
    (repository / "double" / "transform.py").write_text(LISTS)
    with serve(repository) as client:
        shown = client.get("/v2/models/double").json()["parameters"]
    assert shown == {
        "digest": sha256(tiny.double()),
        "verified": False,
        "transform_digest": hashlib.sha256(LISTS.encode()).hexdigest(),
    }


@pytest.mark.parametrize("version", ["", "/versions/1"], ids=["default", "named"])
def test_a_ready_model_says_so(client: TestClient, version: str) -> None:
    answer = client.get(f"/v2/models/double{version}/ready")
    assert (answer.status_code, answer.json()) == (200, {"name": "double", "ready": True})


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"ready": true}', b'{"ready": false}', b'{"unknown": 1}'], ids=bytes.decode
)
def test_the_index_shows_every_model(client: TestClient, body: bytes) -> None:
    answer = client.post("/v2/repository/index", content=body)
    assert answer.status_code == 200
    assert sorted(answer.json(), key=lambda row: row["name"]) == [
        {"name": model, "version": "1", "state": "READY", "reason": ""} for model in sorted(SIGNATURES)
    ]


@pytest.mark.parametrize("ready", ["yes", 1, [], {}], ids=repr)
def test_the_index_takes_a_boolean_only(client: TestClient, ready: Any) -> None:
    answer = client.post("/v2/repository/index", json={"ready": ready})
    assert_problem(answer, 400, "malformed_request", "Invalid value for 'ready'")


@pytest.mark.parametrize("body", [b"{", b"[]", b"true", b"null"], ids=bytes.decode)
def test_the_index_takes_an_object_only(client: TestClient, body: bytes) -> None:
    assert_problem(client.post("/v2/repository/index", content=body), 400, "malformed_request")


@pytest.mark.parametrize("folder", ["0", "-1", "1.5", "latest", "v2", "golden"])
def test_a_version_folder_that_is_no_positive_integer_is_left_out(serve: Serve, tmp_path: Path, folder: str) -> None:
    tiny.write(tiny.double(), tmp_path, "double", 1)
    tiny.write(tiny.double(), tmp_path, "double", folder)
    with serve(tmp_path) as client:
        assert client.get("/v2/models/double").json()["versions"] == ["1"]
        assert_problem(client.get(f"/v2/models/double/versions/{folder}"), 404, "version_not_found")


def refusal(serve: Serve, repository: Path) -> str:
    """Why a server of this repository does not start, as its log has it."""
    with capture_logs() as records, pytest.raises(AlreadyLogged), serve(repository):
        pass
    [record] = [record for record in records if record["log_level"] == "critical"]
    assert record.keys() == {"event", "reason", "log_level"}
    assert record["event"] == "repository_error"
    return str(record["reason"])


def test_a_model_without_any_version_is_refused(serve: Serve, tmp_path: Path) -> None:
    tiny.write(tiny.double(), tmp_path, "double", 1)
    tiny.write(tiny.double(), tmp_path, "unfinished", "draft")
    assert "unfinished" in refusal(serve, tmp_path)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param(tiny.bfloat16(), r"(?i)bf16|bfloat16", id="bfloat16"),
        pytest.param(tiny.sequence_output(), r"(?i)sequence|seq\(", id="sequence"),
    ],
)
def test_a_model_that_the_protocol_cannot_carry_is_refused(
    serve: Serve, tmp_path: Path, model: onnx.ModelProto, reason: str
) -> None:
    assert re.search(reason, refusal(serve, tiny.repository(tmp_path, odd=model)))
