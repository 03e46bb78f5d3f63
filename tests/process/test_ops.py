"""The port for probes: what an orchestrator, and who debugs it, gets to read."""

import os
import signal
from pathlib import Path

import pytest

from tests.oip import Json, assert_problem
from tests.process.conftest import Service, StartService, client, running, wait_until_gone
from tests.process.double import doubled, serve_double
from tests.process.test_signals import ops_of

WORDS = {"/livez": "live", "/readyz": "ready", "/startupz": "started"}


@pytest.fixture(scope="module")
def service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Two workers, one model, nothing wrong."""
    return start_service(serve_double(tmp_path_factory.mktemp("double")))


def without_what_changes(row: Json) -> Json:
    """A worker's row without its pid and without how long it has been silent."""
    assert isinstance(row["pid"], int)
    assert isinstance(row["silent_seconds"], float)
    assert isinstance(row["connections"], int)
    return {key: value for key, value in row.items() if key not in ("pid", "silent_seconds", "connections")}


@pytest.mark.parametrize("path", WORDS)
def test_a_probe_says_yes_and_shows_every_worker(service: Service, path: str) -> None:
    answer = service.probe(path)
    body = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert body == {WORDS[path]: True, "generation": 1, "workers": body["workers"], "reasons": []}
    assert [without_what_changes(row) for row in body["workers"]] == [
        {"slot": slot, "state": "READY", "generation": 1, "note": ""} for slot in (0, 1)
    ]


def test_the_workers_shown_are_the_ones_that_answer(service: Service) -> None:
    doubled(service)
    service.wait_until(lambda: service.requests(), "logged")
    assert {record["pid"] for record in service.requests()} <= set(service.workers().values())


@pytest.mark.parametrize("path", [*WORDS, "/metrics"])
def test_head_says_the_same_without_a_body(service: Service, path: str) -> None:
    with client(service.ops) as ops:
        got, head = ops.get(path), ops.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert int(head.headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/", "/healthz", "/v2", "/v2/models/double/infer"])
def test_another_path_is_a_problem(service: Service, path: str) -> None:
    assert_problem(service.probe(path), 404, "not_found", path)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", [*WORDS, "/metrics"])
def test_another_method_is_a_problem_that_names_the_right_ones(service: Service, path: str, method: str) -> None:
    with client(service.ops) as ops:
        answer = ops.request(method, path)
    assert_problem(answer, 405, "method_not_allowed", path, method, "GET")
    assert sorted(answer.headers["Allow"].split(", ")) == ["GET", "HEAD"]


def test_the_callers_request_id_comes_back(service: Service) -> None:
    with client(service.ops) as ops:
        for path in (*WORDS, "/nowhere"):
            assert ops.get(path, headers={"X-Request-ID": "probe-7"}).headers["X-Request-ID"] == "probe-7"


def test_probes_are_neither_logged_nor_counted(service: Service) -> None:
    """They come every second and tell nobody anything."""
    before = len(service.requests())
    for path in (*WORDS, "/nowhere"):
        service.probe(path)
    metrics = service.probe("/metrics").text
    assert [path for path in WORDS if path in metrics] == []
    assert len(service.requests()) == before


def test_a_slash_behind_a_probe_is_another_path(tmp_path: Path) -> None:
    """Answered with a redirect to whatever the Host header says, without our body; the API port has that off."""
    with running(serve_double(tmp_path), tmp_path) as service:
        assert_problem(service.probe("/readyz/"), 404, "not_found", "/readyz/")


def test_ops_comes_back_when_it_is_killed(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        ops = ops_of(service)
        os.kill(ops, signal.SIGKILL)
        wait_until_gone(ops)
        service.wait_until(service.is_started, "probed again")
