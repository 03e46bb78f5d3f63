"""A worker that stands still, and runs that do not end: what the log says, and who still gets an answer."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import tiny
from tests.oip import Json, assert_problem, tensor
from tests.process.conftest import Service, exit_code, running
from tests.process.double import BODY, TWOS, doubled, half_a_request
from tests.process.wire import Wire, request, wire

ENDLESS = 10**15
"""So many trips that no run of them ends."""
CROWD = 10**6
"""So many boxes that comparing them takes longer than any test."""


def repository(folder: Path, *, inline: bool = False) -> Path:
    """A model that counts, one that cannot be interrupted, and one that is quick."""
    root = tiny.repository(folder / "models", loop=tiny.loop(), crowd=tiny.crowd(), double=tiny.double())
    (root / "loop" / "model.toml").write_text(f"inline = {str(inline).lower()}\n")
    return root


def asking(name: str, number: int) -> Json:
    return {"inputs": [tensor(name, "INT64", [1], [number])]}


@contextmanager
def asked(service: Service, model: str, document: Json, *headers: str) -> Iterator[Wire]:
    """A request that is on its way, and whose answer nobody waits for yet."""
    with wire(service.api) as connection:
        path = f"/v2/models/{model}/infer"
        connection.send(request("POST", path, json.dumps(document).encode(), *headers))
        yield connection


def logged(service: Service, event: str) -> Json:
    """The only record of this event, waited for if need be."""
    [record] = service.wait_until(
        lambda: [record for record in service.records() if record["event"] == event], f"logging {event}"
    )
    return record


def test_a_worker_that_stands_still_says_where_and_for_whom_before_it_is_replaced(tmp_path: Path) -> None:
    environment = {"ONNICORN_LIFECYCLE__HEARTBEAT_SECONDS": "2"}
    with running(repository(tmp_path, inline=True), tmp_path, **environment) as service:
        before = service.workers()
        with asked(service, "loop", asking("trips", ENDLESS), "X-Request-ID: endless"):
            stuck = logged(service, "worker_stuck")
            assert doubled(service) == TWOS
            words = logged(service, "worker_stacks")
        slot = stuck["slot"]
        service.wait_until(lambda: service.workers().get(slot, before[slot]) != before[slot], "served by a new worker")
        after = service.workers()
        assert doubled(service) == TWOS
    assert (stuck["level"], stuck["pid"], stuck["requests"]) == ("error", before[slot], ["endless"])
    [calls] = [stack["calls"] for stack in stuck["stacks"] if stack["thread"] == "MainThread"]
    assert calls[0].endswith(" Session.run")
    assert (words["level"], words["worker"], words["slot"]) == ("error", before[slot], slot)
    assert any(line.endswith(" in run") for line in words["stacks"])
    assert {**after, slot: before[slot]} == before


def test_a_run_that_does_not_end_is_ended_and_its_worker_serves_on(tmp_path: Path) -> None:
    environment = {"ONNICORN_RUNTIME__WORKERS": "1", "ONNICORN_LIFECYCLE__RUN_SECONDS": "1"}
    with running(repository(tmp_path), tmp_path, **environment) as service:
        before = service.workers()
        with (
            asked(service, "loop", asking("trips", ENDLESS)) as endless,
            asked(service, "loop", asking("trips", 3)) as next_one,
        ):
            assert doubled(service) == TWOS
            assert_problem(endless.answer(), 500, "inference_failed")
            assert next_one.answer().json()["outputs"][0]["data"] == [3]
        terminated = logged(service, "run_terminated")
        assert service.workers() == before
    assert (terminated["level"], terminated["model"], terminated["version"]) == ("error", "loop", 1)
    assert terminated["seconds"] >= 1


def test_a_worker_whose_run_cannot_be_ended_finishes_its_other_requests_and_is_replaced(tmp_path: Path) -> None:
    environment = {
        "ONNICORN_RUNTIME__WORKERS": "1",
        "ONNICORN_LIFECYCLE__RUN_SECONDS": "1",
        "ONNICORN_LIFECYCLE__FINISH_SECONDS": "3",
    }
    with running(repository(tmp_path), tmp_path, **environment) as service:
        [before] = service.workers().values()
        with half_a_request(service) as other, asked(service, "crowd", asking("boxes", CROWD)) as stuck:
            record = logged(service, "run_stuck")
            logged(service, "draining")
            other.send(BODY[10:])
            assert other.answer().json()["outputs"][0]["data"] == TWOS
            assert_problem(stuck.answer(), 500, "interrupted")
        service.wait_until(lambda: service.workers().get(0, before) != before, "served by a new worker")
        assert doubled(service) == TWOS
    assert (record["level"], record["model"], record["version"], record["pid"]) == ("error", "crowd", 1, before)
    ends = {each["worker_pid"]: each["reason"] for each in service.records() if each["event"] == "worker_exited"}
    assert ends[before] == "stuck"


def test_a_run_that_does_not_end_does_not_hold_up_a_quick_end(tmp_path: Path) -> None:
    """Else the process would wait for the thread, until the master kills it."""
    with (
        running(repository(tmp_path), tmp_path) as service,
        asked(service, "loop", asking("trips", ENDLESS)) as endless,
    ):
        pending = 'onnicorn_inference_pending{model="loop"} 1.0'
        service.wait_until(lambda: pending in service.probe("/metrics").text, "running")
        service.process.send_signal(signal.SIGINT)
        assert_problem(endless.answer(), 500, "interrupted")
        assert exit_code(service) == 0
        assert "SIGKILL" not in service.printed()


def test_what_a_killed_worker_was_running_is_not_pending_for_ever(tmp_path: Path) -> None:
    def pending(count: int) -> bool:
        return f'onnicorn_inference_pending{{model="loop"}} {count}.0' in service.probe("/metrics").text

    with running(repository(tmp_path), tmp_path) as service, asked(service, "loop", asking("trips", ENDLESS)):
        service.wait_until(lambda: pending(1), "running")
        os.kill(service.workers()[0], signal.SIGKILL)
        service.wait_until(lambda: pending(0), "forgotten")


def test_a_worker_that_crashes_says_where_it_stood(tmp_path: Path) -> None:
    with running(repository(tmp_path), tmp_path) as service:
        before = service.workers()
        os.kill(before[0], signal.SIGSEGV)
        words = logged(service, "worker_stacks")
        service.process.terminate()
        assert exit_code(service) == 0
        assert list(service.run.iterdir()) == []
    assert words["worker"] == before[0]
    assert words["stacks"][0] == "Fatal Python error: Segmentation fault"
