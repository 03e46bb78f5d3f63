"""Loading and unloading as callers see it; how the reload goes is somebody else's work."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.board import Board
from service.loading import prepare_generation
from service.outcomes import Outcome, Reason
from service.seat import Seat
from service.settings import Settings
from service.web.app import create_app
from service.wishes import Wish
from tests import tiny
from tests.oip import Json, assert_problem

LATER = 1_000_000
"""A position behind all wishes of a test."""


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    made = Seat()
    (tmp_path / "run").mkdir()
    made.share(Board(slots=1), tmp_path / "run")
    return made


@pytest.fixture
def client(seat: Seat, tmp_path: Path) -> Iterator[TestClient]:
    """Of a service that serves `cat`."""
    root = tiny.repository(tmp_path / "models", cat=tiny.double())
    settings = Settings.model_validate(
        {"repository": {"path": root}, "cache": {"dir": tmp_path / "cache"}, "http": {"admin": True}}
    )
    prepare_generation(settings, number=1).write(seat.manifest_of(1))
    seat.board.service.commit(1, 1)
    seat.take(seat.board.occupy())
    with TestClient(create_app(settings, seat)) as made:
        yield made


def end(seat: Seat, *reasons: Reason) -> None:
    """Whatever is asked for has ended before it is asked."""
    outcome = Outcome(result="refused" if reasons else "committed", generation=1, reasons=reasons, standing=reasons)
    seat.outcomes.note(LATER, outcome)
    seat.board.service.reloads = LATER


@pytest.mark.parametrize("action", ["load", "unload"])
def test_a_reload_that_has_ended_well_is_an_empty_answer(action: str, client: TestClient, seat: Seat) -> None:
    end(seat)
    answer = client.post(f"/v2/repository/models/cat/{action}")
    assert (answer.status_code, answer.json()) == (200, {})
    found = seat.wishes.after(0)
    assert found is not None
    assert found[0].model_dump() == {"kind": action, "model": "cat"}


@pytest.mark.parametrize("action", ["load", "unload"])
def test_where_nobody_may_load_models_the_setting_is_named(action: str, tmp_path: Path) -> None:
    root = tiny.repository(tmp_path / "models", cat=tiny.double())
    settings = Settings.model_validate({"repository": {"path": root}, "cache": {"dir": tmp_path / "cache"}})
    with TestClient(create_app(settings)) as closed:
        answer = closed.post(f"/v2/repository/models/cat/{action}")
    assert_problem(answer, 403, "forbidden", "ONNICORN_HTTP__ADMIN=true")


def test_a_reload_that_was_refused_is_a_conflict_with_its_reason(client: TestClient, seat: Seat) -> None:
    end(seat, Reason(name="cat", version=2, text="it is broken"))
    answer = client.post("/v2/repository/models/cat/load", json={})
    assert_problem(answer, 409, "reload_refused", "model 'cat': it is broken")


def test_a_model_that_the_repository_does_not_have_is_not_found(client: TestClient, seat: Seat) -> None:
    end(seat, Reason(name="dog", text="the repository has no such model", is_missing=True))
    assert_problem(client.post("/v2/repository/models/dog/load"), 404, "model_not_found", "dog")


def test_a_model_that_is_not_served_cannot_be_unloaded(client: TestClient, seat: Seat) -> None:
    assert_problem(client.post("/v2/repository/models/dog/unload"), 404, "model_not_found", "dog")
    assert seat.wishes.after(0) is None


def test_a_reload_whose_end_is_forgotten_is_told_as_going_on(client: TestClient, seat: Seat) -> None:
    seat.board.service.reloads = LATER
    answer = client.post("/v2/repository/models/cat/load")
    assert_problem(answer, 409, "reload_in_progress", "has not ended yet")
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("action", "body", "sentence"),
    [
        ("load", {"parameters": {"config": "{}"}}, "'parameters.config' is not supported"),
        ("load", {"parameters": {"file:1/model.onnx": ""}}, "'parameters.file:1/model.onnx' is not supported"),
        ("load", {"parameters": []}, "'parameters': expected an object"),
        ("load", [], "expected a JSON object"),
        ("unload", {"parameters": {"force": True}}, "'parameters.force' is not supported"),
    ],
)
def test_what_triton_would_take_from_the_caller_is_refused(
    action: str, body: Json, sentence: str, client: TestClient, seat: Seat
) -> None:
    assert_problem(client.post(f"/v2/repository/models/cat/{action}", json=body), 400, "malformed_request", sentence)
    assert seat.wishes.after(0) is None


def test_what_tritons_client_sends_along_is_taken(client: TestClient, seat: Seat) -> None:
    end(seat)
    body = {"parameters": {"unload_dependents": False}}
    assert client.post("/v2/repository/models/cat/unload", json=body).status_code == 200


def test_the_index_has_the_reasons_of_the_last_reload(client: TestClient, seat: Seat) -> None:
    served = {"name": "cat", "version": "1", "state": "READY", "reason": ""}
    assert client.post("/v2/repository/index").json() == [served]
    end(seat, Reason(name="cat", version=1, text="it was changed"), Reason(name="dog", version=3, text="it is broken"))
    assert client.post("/v2/repository/index").json() == [
        served | {"reason": "the last reload was refused: it was changed"},
        {"name": "dog", "version": "3", "state": "UNAVAILABLE", "reason": "it is broken"},
    ]
    assert client.post("/v2/repository/index", json={"ready": True}).json() == [
        served | {"reason": "the last reload was refused: it was changed"}
    ]


def test_a_reason_without_a_model_is_told_of_all(client: TestClient, seat: Seat) -> None:
    end(seat, Reason(text="the repository is gone"))
    [entry] = client.post("/v2/repository/index").json()
    assert (entry["state"], entry["reason"]) == ("READY", "the last reload was refused: the repository is gone")


def test_a_reason_against_a_whole_model_is_told_of_its_versions_that_are_served(client: TestClient, seat: Seat) -> None:
    end(seat, Reason(name="cat", text="it has no version folder"))
    [entry] = client.post("/v2/repository/index").json()
    assert (entry["version"], entry["state"], entry["reason"]) == (
        "1", "READY", "the last reload was refused: it has no version folder"
    )  # fmt: skip


def test_a_wish_of_another_kind_does_not_exist() -> None:
    with pytest.raises(ValueError, match="kind"):
        Wish.model_validate({"kind": "forget"})
