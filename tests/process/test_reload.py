"""A reload changes what is served, everywhere at once, or nothing; and nobody who calls meanwhile is failed."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import tiny
from tests.oip import Json, assert_problem
from tests.process.conftest import Service, exit_code, running, wait_until_gone
from tests.process.double import ONES, doubled, golden_sample, serve_double
from tests.process.gate import Gate
from tests.process.traffic import Traffic, traffic

SIGNATURE = """
[signature]
inputs = [{ name = "x", datatype = "FP32", shape = [-1, 4] }]
outputs = [{ name = "y", datatype = "FP32", shape = [-1, 4] }]
"""


def add_version(repository: Path, version: int, factor: float) -> Path:
    """Its folder appears whole, as a careful deployment makes it."""
    draft = tiny.write(tiny.times(factor), repository.parent / f"draft-{version}", "double", version).parent
    return draft.rename(repository / "double" / str(version))


def reload(service: Service) -> None:
    service.process.send_signal(signal.SIGHUP)


def generation(service: Service) -> int:
    number: int = service.probe("/readyz").json()["generation"]
    return number


def reloads(service: Service) -> dict[str, float]:
    """How many have ended, by outcome."""
    lines = [line for line in service.probe("/metrics").text.splitlines() if "onnicorn_reloads_total{" in line]
    return {line.split('"')[1]: count for line in lines if (count := float(line.split()[-1]))}


def events(service: Service, event: str) -> list[Json]:
    return [record for record in service.records() if record["event"] == event]


def index(service: Service) -> list[Json]:
    entries: list[Json] = service.post("/v2/repository/index", {}).json()
    return entries


def admin(service: Service, model: str, action: str, **document: Any) -> httpx2.Response:
    return service.post(f"/v2/repository/models/{model}/{action}", document)


def assert_one_moment(calls: Traffic, before: float, after: float) -> None:
    """Once somebody has been answered by the new generation, nobody who asks is answered by the old one."""
    assert (calls.failures, calls.factors()) == ([], {before, after})
    switched = min(call.answered for call in calls.all if call.factor == after)
    assert {call.factor for call in calls.all if call.asked > switched} == {after}
    kept = calls.calls[:2]
    assert [call for connection in kept for call in connection if call.is_last] == []


def test_a_new_version_is_served_by_the_same_workers_over_the_same_connections(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        workers = service.workers()
        with traffic(service) as calls:
            calls.wait_for(2.0)
            for version, factor in ((2, 3.0), (3, 5.0)):
                add_version(repository, version, factor)
                reload(service)
                calls.wait_for(factor)
            calls.wait_for_more()
        assert (calls.failures, calls.factors()) == ([], {2.0, 3.0, 5.0})
        assert (service.workers(), generation(service), reloads(service)) == (workers, 3, {"committed": 2.0})
        assert [record["generation"] for record in events(service, "reloaded")] == [2, 3]


def test_all_workers_change_over_at_the_same_moment(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service, traffic(service) as calls:
        calls.wait_for(2.0)
        add_version(repository, 2, 3.0)
        reload(service)
        calls.wait_for(3.0)
    assert_one_moment(calls, before=2.0, after=3.0)


def corrupt(repository: Path) -> str:
    (repository / "double" / "2").mkdir()
    (repository / "double" / "2" / "model.onnx").write_bytes(b"no model")
    return "is not an ONNX model"


def another_signature(repository: Path) -> str:
    tiny.write(tiny.add_sub(), repository, "double", 2)
    return "pins the inputs"


def failing_its_golden_sample(repository: Path) -> str:
    golden = add_version(repository, 2, 3.0) / "golden"
    golden.mkdir()
    (golden / "sample.json").write_text(golden_sample(2, 2, 2, 2))
    return "golden sample"


def without_a_repository(repository: Path) -> str:
    repository.rename(repository.with_name("elsewhere"))
    return "does not exist"


@pytest.mark.parametrize("worsen", [corrupt, another_signature, failing_its_golden_sample, without_a_repository])
def test_what_cannot_be_served_changes_nothing_and_says_why(worsen: Callable[[Path], str], tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    (repository / "double" / "model.toml").write_text(SIGNATURE)
    with running(repository, tmp_path) as service:
        workers = service.workers()
        with traffic(service) as calls:
            calls.wait_for(2.0)
            reason = worsen(repository)
            reload(service)
            service.wait_until(lambda: reloads(service) == {"refused": 1.0}, "refused")
            calls.wait_for_more()
        assert (calls.failures, calls.factors()) == ([], {2.0})
        assert (service.workers(), generation(service)) == (workers, 1)
        [record] = events(service, "reload_refused")
        assert reason in record["reason"]
        served, *refused = index(service)
        assert (served["version"], served["state"]) == ("1", "READY")
        assert [entry["state"] for entry in refused] == ["UNAVAILABLE"] * len(refused)
        assert reason in (refused[0]["reason"] if refused else served["reason"])


def test_after_a_refusal_a_better_version_is_served(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        corrupt(repository)
        reload(service)
        service.wait_until(lambda: reloads(service) == {"refused": 1.0}, "refused")
        shutil.rmtree(repository / "double" / "2")
        add_version(repository, 2, 3.0)
        reload(service)
        service.wait_until(lambda: doubled(service) == [3.0] * 4, "serving the better version")
        assert [(entry["version"], entry["reason"]) for entry in index(service)] == [("2", "")]


def test_models_are_loaded_and_unloaded_by_those_who_call(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path, ONNICORN_HTTP__ADMIN="true") as service:
        tiny.write(tiny.times(7), repository, "seven")
        assert (admin(service, "seven", "load").status_code, doubled(service, "seven")) == (200, [7.0] * 4)
        assert admin(service, "double", "unload").status_code == 200
        assert_problem(service.post("/v2/models/double/infer", ONES), 404, "model_not_found", "double")
        reload(service)  # what was taken out stays out
        service.wait_until(lambda: reloads(service) == {"committed": 3.0}, "reloaded")
        assert [(entry["name"], entry["reason"]) for entry in index(service)] == [("double", "unloaded"), ("seven", "")]
        assert admin(service, "seven", "unload").status_code == 200
        assert service.probe("/readyz").json()["reasons"] == ["the repository has no model"]
        assert (admin(service, "double", "load").status_code, doubled(service)) == (200, [2.0] * 4)
        assert service.get("/v2/models").json() == {"models": ["double"]}


def test_a_model_that_cannot_be_loaded_is_refused_to_the_caller(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path, ONNICORN_HTTP__ADMIN="true") as service:
        corrupt(repository)
        assert_problem(admin(service, "double", "load"), 409, "reload_refused", "is not an ONNX model")
        assert_problem(admin(service, "cat", "load"), 404, "model_not_found", "cat")
        assert_problem(admin(service, "cat", "unload"), 404, "model_not_found", "cat")
        given = {"parameters": {"config": "{}"}}
        assert_problem(admin(service, "double", "load", **given), 400, "malformed_request", "parameters.config")
        assert doubled(service) == [2.0] * 4


def test_nobody_may_load_a_model_unless_that_is_allowed(service: Service) -> None:
    assert_problem(admin(service, "double", "unload"), 403, "forbidden", "ONNICORN_HTTP__ADMIN")


def test_a_repository_that_is_watched_is_read_again_when_it_changes(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path, ONNICORN_REPOSITORY__WATCH_SECONDS="0.1") as service:
        add_version(repository, 2, 3.0)
        service.wait_until(lambda: doubled(service) == [3.0] * 4, "serving the new version")
        assert reloads(service) == {"committed": 1.0}


def test_a_successor_serves_the_validated_generation_whatever_has_become_of_the_files(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        golden = add_version(repository, 2, 3.0) / "golden"
        golden.mkdir()
        (golden / "sample.json").write_text(golden_sample(3, 3, 3, 3))
        reload(service)
        service.wait_until(lambda: doubled(service) == [3.0] * 4, "serving the new version")
        (golden / "sample.json").write_text(golden_sample(9, 9, 9, 9))
        (golden.parent / "model.onnx").write_bytes(b"destroyed")
        for pid in service.workers().values():
            os.kill(pid, signal.SIGKILL)
            wait_until_gone(pid)
        service.wait_until(lambda: len(service.workers()) == 2, "served by two workers")
        assert (doubled(service), generation(service)) == ([3.0] * 4, 2)


def test_a_worker_that_dies_while_it_stages_is_followed_by_one_that_does(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        golden = add_version(repository, 2, 3.0) / "golden"
        golden.mkdir()
        gate = Gate(golden / "sample.json")
        sample = golden_sample(3, 3, 3, 3)
        reload(service)
        with gate.holding_one(service, sample):  # the preparation
            assert doubled(service) == [2.0] * 4
        victim = service.workers()[0]
        with gate.holding_one(service, sample):  # a worker, or both
            os.kill(victim, signal.SIGKILL)
            wait_until_gone(victim)
        # Its successor passes the gate too.
        let_all_through(service, gate, sample, lambda: has_committed(service, 1) and len(service.workers()) == 2)
        assert (doubled(service), victim in service.workers().values()) == ([3.0] * 4, False)


def let_all_through(service: Service, gate: Gate, sample: str, is_done: Callable[[], bool]) -> None:
    def open_it() -> bool:
        if entrance := gate.try_open():
            with entrance:
                entrance.write(sample.encode())
        return is_done()

    service.wait_until(open_it, "past the gate")


def test_a_load_that_hangs_is_called_off_and_its_workers_follow_one_another(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    limits = {"ONNICORN_LIFECYCLE__LOAD_SECONDS": "3", "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "0.5"}
    with running(repository, tmp_path, **limits) as service:
        before = set(service.workers().values())
        golden = add_version(repository, 2, 3.0) / "golden"
        golden.mkdir()
        gate = Gate(golden / "sample.json")
        with traffic(service) as calls:
            reload(service)
            with gate.holding_one(service, golden_sample(3, 3, 3, 3)):
                pass  # the preparation; now the workers stand there
            service.wait_until(lambda: sum(reloads(service).values()) == 1, "called off")
            shutil.rmtree(golden)
            service.wait_until(partial(is_served_by_others, service, before), "served by successors")
            reload(service)
            service.wait_until(lambda: has_committed(service, 1), "reloaded")
            calls.wait_for(3.0)
        assert (calls.failures, calls.factors()) == ([], {2.0, 3.0})
        ends = [each["reason"] for each in events(service, "worker_exited")]
        assert ends == ["stuck", "stuck"]


def is_served_by_others(service: Service, before: set[int]) -> bool:
    now = set(service.workers().values())
    return len(now) == len(before) and now.isdisjoint(before)


def test_sigterm_ends_workers_that_stage(tmp_path: Path) -> None:
    """At once, though their threads load on."""
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        golden = add_version(repository, 2, 3.0) / "golden"
        golden.mkdir()
        gate = Gate(golden / "sample.json")
        reload(service)
        for _ in range(2):  # the preparation, then a worker
            with gate.holding_one(service, golden_sample(3, 3, 3, 3)):
                pass
        service.process.terminate()
        assert exit_code(service) == 0
        assert service.alive() == []


def test_sigterm_calls_a_reload_off(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        golden = add_version(repository, 2, 3.0) / "golden"
        golden.mkdir()
        gate = Gate(golden / "sample.json")
        reload(service)
        with gate.holding_one(service, golden_sample(3, 3, 3, 3)):
            service.process.terminate()
            assert exit_code(service) == 0
        assert service.alive() == []
        assert [record["reason"] for record in events(service, "reload_aborted")] == ["the service is ending"]


def test_a_coordinator_that_dies_is_followed_by_one_that_goes_on(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        (ops,) = set(service.alive()) - {service.process.pid, *service.workers().values()}
        golden = add_version(repository, 2, 3.0) / "golden"
        golden.mkdir()
        gate = Gate(golden / "sample.json")
        reload(service)
        with gate.holding_one(service, golden_sample(3, 3, 3, 3)):
            os.kill(ops, signal.SIGKILL)
            wait_until_gone(ops)
        shutil.rmtree(golden)
        service.wait_until(lambda: doubled(service) == [3.0] * 4, "serving the new version")


def has_heard(service: Service, count: int) -> bool:
    return len(events(service, "Handling signal: hup")) == count


def test_the_signal_again_and_again_is_as_good_as_twice(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        golden = add_version(repository, 2, 3.0) / "golden"
        golden.mkdir()
        gate = Gate(golden / "sample.json")
        reload(service)
        with gate.holding_one(service, "no sample"):
            for count in range(2, 7):
                reload(service)
                service.wait_until(partial(has_heard, service, count), "told of the signal")
            shutil.rmtree(golden)
        service.wait_until(lambda: doubled(service) == [3.0] * 4, "serving the new version")
        assert reloads(service) == {"refused": 1.0, "committed": 1.0}


def has_committed(service: Service, count: int) -> bool:
    return reloads(service).get("committed") == count


def test_the_run_directory_does_not_grow_with_reloads(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        (directory,) = service.run.iterdir()
        counts = []
        for number in range(1, 13):
            reload(service)
            service.wait_until(partial(has_committed, service, number), "reloaded")
            counts.append(len(list(directory.iterdir())))
        assert counts[-1] == counts[-2]
        assert json.loads(service.probe("/readyz").text)["generation"] == 13


def test_what_was_counted_of_a_version_leaves_with_the_reload_after_the_one_that_took_it_away(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        for version in (2, 3, 4):
            add_version(repository, version, version)
            shutil.rmtree(repository / "double" / str(version - 1))
            reload(service)
            service.wait_until(partial(counts_only, service, {version - 1, version}), "forgotten")


def counts_only(service: Service, versions: set[int]) -> bool:
    text = service.probe("/metrics").text
    counted = re.findall(r'onnicorn_inference_requests_total\{.*version="(\d+)"', text)
    return {int(version) for version in counted} == versions
