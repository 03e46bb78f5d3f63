"""What a scraper gets: values read from the board and the cgroup beside the counted ones."""

import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from time import time

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from service import __version__
from service.board import Board
from service.outcomes import Outcome, Outcomes, Reason
from service.rows import State
from service.telemetry.metrics import READ_AT_SCRAPE, REGISTRY
from service.telemetry.scrape import Scrape
from service.telemetry.versions import Versions

VERSIONS = Versions(served=(("cat", 1, "abc"), ("cat", 2, "def")))
USED = ("cpu_seconds", "resident_bytes", "private_bytes", "open_files")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Samples = dict[tuple[str, ...], float]


def a_board() -> Board:
    """Two workers are ready, one drains, one slot is free."""
    board = Board(slots=4)
    for _ in range(3):
        board.rows[board.occupy()].move(State.READY)
    board.rows[1].adopt()  # this very process
    board.rows[2].move(State.DRAINING)
    return board


def render(accept: str = "", versions: Versions = VERSIONS) -> tuple[str, str]:
    body, content_type = Scrape(a_board(), lambda: versions).render(accept)
    return body.decode(), content_type


def read(families: Iterable[Metric]) -> dict[str, Samples]:
    """What is read at a scrape, by metric and the labels' values."""
    return {
        family.name: {
            tuple(sample.labels[label] for label in READ_AT_SCRAPE[family.name][2]): sample.value
            for sample in family.samples
        }
        for family in families
        if family.name in READ_AT_SCRAPE
    }


def test_the_moment_is_read() -> None:
    found = read(text_string_to_metric_families(render()[0]))
    memory = found.pop("onnicorn_memory_bytes")
    assert set(memory) <= {("used",), ("working_set",), ("limit",)}
    assert min(memory.values(), default=1) > 0
    [throttled] = found.pop("onnicorn_cpu_throttled_seconds").values()
    assert throttled >= 0
    used = {name: found.pop(f"onnicorn_worker_{name}") for name in USED}
    [since] = found.pop("onnicorn_start_time_seconds").values()
    assert 0 <= time() - since < 60
    assert {name: list(by_worker) for name, by_worker in used.items()} == {name: [("1",)] for name in USED}
    assert min(value for by_worker in used.values() for value in by_worker.values()) > 0
    assert found == {
        "onnicorn_workers": {("STARTING",): 0, ("READY",): 2, ("DRAINING",): 1, ("STOPPED",): 0},
        "onnicorn_model_info": {("cat", "1", "abc"): 1, ("cat", "2", "def"): 1},
        "onnicorn_repository_faults": {(): 0},
        "onnicorn_build_info": {(__version__, version("onnxruntime"), platform.python_version()): 1},
    }


def test_what_is_counted_is_there_too() -> None:
    counted = {family.name for family in REGISTRY.collect()}
    assert counted | READ_AT_SCRAPE.keys() == {family.name for family in text_string_to_metric_families(render()[0])}


def test_the_service_has_one_start_whoever_is_asked_and_whenever() -> None:
    scrapes = [Scrape(board, Versions) for board in [a_board()] * 2]
    first, second = (read(text_string_to_metric_families(scrape.render("")[0].decode())) for scrape in scrapes)
    assert first["onnicorn_start_time_seconds"] == second["onnicorn_start_time_seconds"]


def test_a_moment_without_models_has_none() -> None:
    assert read(text_string_to_metric_families(render(versions=Versions())[0]))["onnicorn_model_info"] == {}


def test_what_keeps_the_repository_from_being_served_is_counted_until_a_reload_takes_it(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path)

    def faults(*refused: tuple[str, int | None]) -> Samples:
        scrape = Scrape(a_board(), lambda: Versions(refused=frozenset(refused)), tmp_path)
        return read(text_string_to_metric_families(scrape.render("")[0].decode()))["onnicorn_repository_faults"]

    assert faults() == {(): 0}
    assert faults(("cat", 2), ("dog", None)) == {(): 2}  # a start that tolerates failures
    broken, late = Reason(name="cat", version=3, text="no opset"), Reason(text="loading took too long")
    outcomes.note(1, Outcome(result="refused", generation=1, reasons=(broken,), standing=(broken,)))
    outcomes.note(2, Outcome(result="aborted", generation=1, reasons=(late,), standing=(broken, late)))
    assert faults() == {(): 2}
    assert faults(("cat", 2), ("cat", 3)) == {(): 3}
    outcomes.note(3, Outcome(result="committed", generation=2))
    assert faults(("cat", 3)) == {(): 1}
    assert faults() == {(): 0}


def test_openmetrics_is_answered_to_who_asks_for_it() -> None:
    text, content_type = render(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    assert read(families)["onnicorn_model_info"] == {("cat", "1", "abc"): 1, ("cat", "2", "def"): 1}


@pytest.mark.parametrize("accept", ["", "*/*", "text/html"])
def test_prometheus_text_is_answered_to_all_others(accept: str) -> None:
    text, content_type = render(accept)
    assert content_type.startswith("text/plain; version=")
    assert "# HELP onnicorn_workers Workers by state.\n# TYPE onnicorn_workers gauge\n" in text


def test_with_several_processes_the_files_are_read_and_not_this_process(tmp_path: Path) -> None:
    text = Scrape(a_board(), Versions, tmp_path).render("")[0].decode()
    assert {family.name for family in text_string_to_metric_families(text)} == READ_AT_SCRAPE.keys()
