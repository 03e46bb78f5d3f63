"""The app as a whole: its life on the board, and the settings that change what it answers."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from structlog.typing import EventDict

from service.board import Board
from service.engine.manifest import Manifest
from service.loading import prepare_generation
from service.rows import State
from service.seat import Seat
from service.settings import Settings
from service.telemetry.logs import AlreadyLogged
from service.web.app import create_app
from service.web.routes import EMBEDDINGS_ROUTE, ROUTES
from tests import tiny
from tests.oip import Json, assert_problem, outputs, tensor

X = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])
Y = tensor("y", "FP32", [1, 4], [2, 4, 6, 8])


def settings(path: Path, **groups: Any) -> Settings:
    """Prepared models are kept beside the repository."""
    groups["repository"] = {"path": path} | groups.get("repository", {})
    return Settings(cache={"dir": path.parent / "cache"}, **groups)


def client_of(path: Path, seat: Seat | None = None, **groups: Any) -> TestClient:
    return TestClient(create_app(settings(path, **groups), seat), headers={"Accept-Encoding": "identity"})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A cat and a broken dog."""
    root = tiny.repository(tmp_path / "models", cat=tiny.double())
    (root / "dog" / "2").mkdir(parents=True)
    (root / "dog" / "2" / "model.onnx").write_bytes(b"dog")
    return root


def shared_seat(models: Path, directory: Path) -> Seat:
    """The first of two workers of a service whose third generation is prepared."""
    seat, board = Seat(), Board(slots=2)
    seat.share(board, directory)
    tolerant = settings(models, repository={"tolerate_failures": True})
    prepare_generation(tolerant, number=3).write(seat.manifest_of(3))
    board.service.workers = 2
    board.service.commit(3, 1)
    seat.take(board.occupy())
    return seat


def test_a_process_alone_checks_loads_and_announces(tmp_path: Path, records: list[EventDict]) -> None:
    seat = Seat()
    app = client_of(tiny.repository(tmp_path / "models", cat=tiny.double()), seat)
    assert (seat.row.state, seat.board.ready().yes) == (State.STARTING, False)
    with app as client:
        assert (seat.row.state, seat.row.generation) == (State.READY, 1)
        assert (seat.board.service.generation, seat.board.service.models) == (1, 1)
        assert client.get("/v2/health/ready").json() == {"ready": True, "generation": 1, "reasons": []}
        assert outputs(client.post("/v2/models/cat/infer", json={"inputs": [X]})) == [Y]
    assert seat.row.state is State.STOPPED
    told = [record["event"] for record in records if record["log_level"] != "debug"]
    assert told == ["model_checked", "ready", "request", "request"]


def test_alerts_know_the_errors_of_a_model_before_its_first(tmp_path: Path) -> None:
    """A hundred failures within one scrape would else be a series that has always been a hundred."""
    path = tiny.repository(tmp_path / "models", newcomer=tiny.double())
    with client_of(path, admission={"overload_status": 429}) as client:
        told = client.get("/metrics").text.splitlines()
    for route in (*ROUTES, EMBEDDINGS_ROUTE):
        for status in (200, 429, 500, 503, 504):
            series = f'onnicorn_http_requests_total{{method="POST",route="{route}",status="{status}"}}'
            assert [line for line in told if line.startswith(series)] != [], series
    failed = 'onnicorn_inference_requests_total{model="newcomer",outcome="inference_failed",version="1"} 0.0'
    assert failed in told


def reason(client: TestClient, records: list[EventDict]) -> str:
    """Why the app does not start: it is logged, once, before the server hears of it."""
    with pytest.raises(AlreadyLogged), client:
        raise AssertionError("it has started")
    [record] = [record for record in records if record["log_level"] == "critical"]
    assert record.pop("event") == "repository_error"
    return str(record["reason"])


def test_a_process_alone_does_not_start_on_a_broken_model(models: Path, records: list[EventDict]) -> None:
    seat = Seat()
    assert reason(client_of(models, seat), records) == (
        f"model 'dog': {models}/dog/2/model.onnx is not an ONNX model: it cannot be parsed; export it again"
    )
    assert seat.row.state is State.STARTING


def test_a_worker_loads_what_was_prepared_and_the_last_one_announces(
    models: Path, tmp_path: Path, records: list[EventDict]
) -> None:
    seat = shared_seat(models, tmp_path)
    board = seat.board
    (models / "cat" / "1").rename(models / "cat" / "2")
    (models / "cat" / "1").symlink_to("2")
    records.clear()
    with client_of(models, seat) as client:
        assert (seat.row.state, seat.row.generation) == (State.READY, 3)
        assert client.get("/v2/models/cat").json()["versions"] == ["1"]
        answer = client.get("/v2/health/ready")
        assert (answer.status_code, answer.json()) == (
            503,
            {"ready": False, "generation": 3, "reasons": ["1 of 2 workers are ready"]},
        )
        assert [record["event"] for record in records if record["event"] == "ready"] == []
        other = Seat()
        other.share(board, tmp_path)
        other.take(board.occupy())
        with client_of(models, other):
            assert [record["models"] for record in records if record["event"] == "ready"] == [["cat/1"]]
            assert client.get("/v2/health/ready").json() == {"ready": True, "generation": 3, "reasons": []}


def test_a_worker_serves_what_was_checked_whatever_has_become_of_the_file(models: Path, tmp_path: Path) -> None:
    seat = shared_seat(models, tmp_path)
    (models / "cat" / "1" / "model.onnx").write_bytes(b"another")
    with client_of(models, seat) as client:
        assert outputs(client.post("/v2/models/cat/infer", json={"inputs": [X]})) == [Y]


def test_a_worker_does_not_start_on_another_file_than_was_checked(
    models: Path, tmp_path: Path, records: list[EventDict]
) -> None:
    seat = shared_seat(models, tmp_path)
    [cat] = Manifest.read(seat.manifest_of(3)).entries
    assert cat.prepared
    cat.prepared.unlink()
    cat.file.write_bytes(b"another")
    assert reason(client_of(models, seat), records) == (
        f"{cat.file} has changed since it was checked; restart the service to check it again"
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "document"),
    [
        ("GET", "/v2/models", 200, {"models": ["cat"]}),
        ("GET", "/v2/models/cat/ready", 200, {"name": "cat", "ready": True}),
        ("GET", "/v2/models/dog/ready", 503, {"name": "dog", "ready": False}),
        ("GET", "/v2/models/dog/versions/2/ready", 503, {"name": "dog", "ready": False}),
        (
            "POST",
            "/v2/repository/index",
            200,
            [
                {"name": "cat", "version": "1", "state": "READY", "reason": ""},
                {
                    "name": "dog",
                    "version": "2",
                    "state": "UNAVAILABLE",
                    "reason": "{file} is not an ONNX model: it cannot be parsed; export it again",
                },
            ],
        ),
    ],
)
def test_a_model_that_is_not_ready_is_told_apart(
    models: Path, method: str, path: str, status: int, document: Any
) -> None:
    with client_of(models, repository={"tolerate_failures": True}) as client:
        answer = client.request(method, path)
    if path.endswith("index"):
        document[1]["reason"] = document[1]["reason"].format(file=models / "dog" / "2" / "model.onnx")
    assert (answer.status_code, answer.json()) == (status, document)


def test_a_model_that_is_not_ready_may_be_asked_again(models: Path) -> None:
    with client_of(models, repository={"tolerate_failures": True}) as client:
        answer = client.post("/v2/models/dog/infer", json={"inputs": [X]})
    assert_problem(answer, 503, "model_not_ready", "dog")
    assert answer.headers["Retry-After"] == "1"


def test_the_whole_model_that_cannot_be_used_has_no_version(tmp_path: Path) -> None:
    (tmp_path / "models" / "dog").mkdir(parents=True)
    with client_of(tmp_path / "models", repository={"tolerate_failures": True}) as client:
        [entry] = client.post("/v2/repository/index").json()
        assert client.post("/v2/repository/index", json={"ready": True}).json() == []
        reasons = ["the repository has no model"]
        assert client.get("/v2/health/ready").json() == {"ready": False, "generation": 1, "reasons": reasons}
    assert (entry.keys(), entry["name"], entry["state"]) == ({"name", "state", "reason"}, "dog", "UNAVAILABLE")


def pending(client: TestClient) -> dict[str, float]:
    """By model, as a scraper sees it."""
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    return {sample.labels["model"]: sample.value for sample in families["onnicorn_inference_pending"].samples}


def test_a_worker_holds_no_more_of_bodies_than_the_plan_grants(repository: Path) -> None:
    seat = Seat()
    seat.body_bytes = 1 << 20
    with client_of(repository, seat) as client:
        name = next(iter(client.get("/v2/models").json()["models"]))
        answer = client.post(f"/v2/models/{name}/infer", content=b" " * (seat.body_bytes + 1))
        assert_problem(answer, 413, "request_too_large")


def test_metrics_are_served_on_the_api_port(repository: Path) -> None:
    with client_of(repository) as client:
        answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        names = client.get("/v2/models").json()["models"]
        assert {name: pending(client).get(name) for name in names} == dict.fromkeys(names, 0)


def test_metrics_can_be_left_to_the_ops_port(repository: Path) -> None:
    with client_of(repository, http={"metrics": False}) as client:
        assert_problem(client.get("/metrics"), 404, "not_found")


def test_the_document_describes_the_routes_and_the_models(repository: Path) -> None:
    with client_of(repository) as client:
        document = client.get("/openapi.json").json()
    assert document["info"]["title"] == "Onnicorn"
    assert {"/v2", "/metrics", "/v2/models/{model_name}/config", "/v2/models/double/infer"} <= document["paths"].keys()
    assert "/openapi.json" not in document["paths"]


def test_a_labelled_output_shows_its_labels(tmp_path: Path) -> None:
    with client_of(tiny.repository(tmp_path / "models", cat=tiny.zipmap_string())) as client:
        shown = client.get("/v2/models/cat").json()["outputs"]
    assert shown[1] == {
        "name": "output_probability",
        "datatype": "FP32",
        "shape": [-1, 2],
        "parameters": {"labels": ["cold", "warm"]},
    }


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (["*"], "https://a.example", "*"),
        (["https://a.example"], "https://a.example", "https://a.example"),
        (["https://a.example"], "https://b.example", None),
        ([], "https://a.example", None),
    ],
)
def test_browsers_may_call_from_the_origins_that_are_set(
    repository: Path, origins: list[str], origin: str, allowed: str | None
) -> None:
    with client_of(repository, http={"cors_origins": origins}) as client:
        answer = client.get("/v2", headers={"Origin": origin})
    exposed = answer.headers.get("Access-Control-Expose-Headers")
    assert answer.headers.get("Access-Control-Allow-Origin") == allowed
    assert exposed == ("x-request-id, inference-header-content-length, retry-after, server-timing" if origins else None)
    assert "X-Request-ID" in answer.headers


@pytest.mark.parametrize(
    ("body", "status"), [({"inputs": []}, 400), ({"inputs": [tensor("index", "INT64", [1], [9])]}, 500)]
)
def test_a_browser_may_read_what_went_wrong(repository: Path, body: Json, status: int) -> None:
    with client_of(repository, http={"cors_origins": ["*"]}) as client:
        answer = client.post("/v2/models/failing/infer", json=body, headers={"Origin": "https://a.example"})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")


def test_a_browser_may_ask_before_it_calls(repository: Path) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    with client_of(repository, http={"cors_origins": ["*"]}) as client:
        answer = client.options("/v2/models/double/infer", headers=asked)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Methods"]) == (200, "GET, POST")


@pytest.mark.parametrize("columns", [10, 20_000])
def test_an_answer_of_any_length_is_compressed(repository: Path, columns: int) -> None:
    body = {"inputs": [tensor("x", "INT64", [1, columns], list(range(columns)))]}
    path, headers = "/v2/models/identity_int64/infer", {"X-Request-ID": "7"}
    with client_of(repository) as client:
        plain = client.post(path, json=body, headers=headers)
        with client.stream("POST", path, json=body, headers=headers | {"Accept-Encoding": "gzip"}) as answer:
            raw = b"".join(answer.iter_raw())
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "accept-encoding")
    assert gzip.decompress(raw) == plain.content


@pytest.mark.parametrize("prefix", ["", "/behind"])
def test_an_ingress_may_strip_its_prefix_or_not(repository: Path, prefix: str) -> None:
    with client_of(repository, http={"root_path": "/behind"}) as client:
        assert client.get(f"{prefix}/v2/models/double").json()["name"] == "double"
        assert outputs(client.post(f"{prefix}/v2/models/double/infer", json={"inputs": [X]})) == [Y]
        assert_problem(client.get(f"{prefix}/v2/nothing"), 404, "not_found")
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/behind"}]


def test_nothing_is_loaded_before_the_app_starts(tmp_path: Path) -> None:
    assert isinstance(create_app(settings(tmp_path / "none")), FastAPI)
