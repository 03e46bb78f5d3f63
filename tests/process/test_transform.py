"""A transform in a real service: what a caller of JSON gets, and what becomes of its code when it changes."""

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import tiny
from tests.oip import assert_problem
from tests.process.conftest import Service, StartService, exit_code, launched, running
from tests.transforms import LISTS

PREDICT = "/v1/models/double:predict"
TRIPLED = LISTS.replace('return outputs["y"]', 'return outputs["y"] * 1.5')
SCALING = LISTS.replace(
    "    def before",
    """    def __init__(self, folder):
        self.factor = float((folder / "factor.txt").read_text())

    def before""",
).replace('return outputs["y"]', 'return outputs["y"] * self.factor')
FAILING = LISTS.replace('return outputs["y"]', 'return outputs["secret"]')


def lay(root: Path, source: str = LISTS) -> Path:
    """A repository of `double` with a transform and a golden sample for it."""
    repository = tiny.repository(root / "models", double=tiny.double())
    golden = repository / "double" / "1" / "golden"
    golden.mkdir()
    (golden / "one.json").write_text('{"instances": [[1, 2, 3, 4]], "predictions": [[2, 4, 6, 8]]}')
    put(repository, source)
    return repository


def put(repository: Path, source: str, predictions: str = "") -> None:
    """Another transform, as a careful deployment puts it there, and what its golden sample says."""
    folder = repository / "double"
    if predictions:
        (folder / "1" / "golden" / "one.json").write_text(predictions)
    (folder / "draft").write_text(source)
    (folder / "draft").rename(folder / "transform.py")


def predict(service: Service, *instances: Any) -> httpx2.Response:
    return service.post(PREDICT, {"instances": instances})


def digest(service: Service) -> str:
    shown: str = service.get("/v2/models/double").json()["parameters"]["transform_digest"]
    return shown


def sha256(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


@pytest.fixture(scope="module")
def service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    return start_service(lay(tmp_path_factory.mktemp("transform")))


def test_instances_are_answered_by_predictions(service: Service) -> None:
    answer = predict(service, [1, 2, 3, 4], [0, 0, 0, 1])
    assert (answer.status_code, answer.json()) == (200, {"predictions": [[2, 4, 6, 8], [0, 0, 0, 2]]})


def test_what_is_wrong_with_an_instance_is_said_to_its_caller(service: Service) -> None:
    assert_problem(
        predict(service, [1], ["x"]), 400, "malformed_request", 'instances[1][0]: expected a number, got "x"'
    )
    assert_problem(predict(service, [1, 2, 3, 4], [1]), 400, "malformed_request", "instances[1]: expected four numbers")


def test_tensors_are_still_taken(service: Service) -> None:
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    answer = service.post("/v2/models/double/infer", {"inputs": [x]})
    assert answer.json()["outputs"][0]["data"] == [2, 4, 6, 8]


def test_a_transform_that_fails_says_why_in_the_log_and_nowhere_else(tmp_path: Path) -> None:
    repository = lay(tmp_path, FAILING)
    (repository / "double" / "1" / "golden" / "one.json").unlink()
    with running(repository, tmp_path) as service:
        answer = predict(service, [1, 2, 3, 4])
        assert_problem(answer, 500, "transform_failed", "double")
        assert "secret" not in answer.text
        [line] = service.wait_until(service.requests, "logged")
    assert (line["level"], line["code"]) == ("error", "transform_failed")
    assert "secret" in json.dumps(line)


def test_a_changed_transform_is_a_changed_model_in_all_workers(tmp_path: Path) -> None:
    repository = lay(tmp_path)
    with running(repository, tmp_path) as service:
        assert (predict(service, [1, 1, 1, 1]).json(), digest(service)) == ({"predictions": [[2] * 4]}, sha256(LISTS))
        workers = service.workers()
        put(repository, TRIPLED, '{"instances": [[1, 2, 3, 4]], "predictions": [[3, 6, 9, 12]]}')
        service.process.send_signal(signal.SIGHUP)
        service.wait_until(lambda: digest(service) == sha256(TRIPLED), "reloaded")
        answers = [predict(service, [1, 1, 1, 1]).json() for _ in range(8)]
        assert (answers, service.workers()) == ([{"predictions": [[3] * 4]}] * 8, workers)


def test_a_transform_that_answers_wrongly_changes_nothing_not_even_for_a_new_worker(tmp_path: Path) -> None:
    repository = lay(tmp_path)
    with running(repository, tmp_path) as service:
        put(repository, TRIPLED)
        service.process.send_signal(signal.SIGHUP)
        refused = service.wait_until(
            lambda: [r for r in service.records() if r["event"] == "reload_refused"], "refused"
        )
        assert "was recorded as 2, is 3.0 now" in json.dumps(refused)
        before = service.workers()
        os.kill(before[0], signal.SIGKILL)
        service.wait_until(lambda: len({*service.workers().values()} - {before[0]}) == 2, "whole again")
        answers = [predict(service, [1, 1, 1, 1]).json() for _ in range(8)]
    assert answers == [{"predictions": [[2] * 4]}] * 8


def test_a_new_worker_reads_what_was_checked_whatever_lies_beside_the_model_by_now(tmp_path: Path) -> None:
    repository = lay(tmp_path, SCALING)
    factor = repository / "double" / "factor.txt"
    factor.write_text("1")
    with running(repository, tmp_path) as service:
        before = service.workers()
        factor.write_text("3")
        os.kill(before[0], signal.SIGKILL)
        service.wait_until(lambda: len(service.workers()) == 2 and service.workers()[0] != before[0], "whole again")
        answers = [predict(service, [1, 1, 1, 1]).json() for _ in range(8)]
        assert answers == [{"predictions": [[2] * 4]}] * 8


def test_code_that_is_forbidden_ends_the_start_and_is_not_run(tmp_path: Path) -> None:
    repository = lay(tmp_path, f"open({str(tmp_path / 'was_run')!r}, 'w')")
    with launched(repository, tmp_path, ONNICORN_REPOSITORY__TRANSFORMS="false") as service:
        assert exit_code(service) == 1
    assert f"{repository}/double/transform.py is code, which" in service.printed()
    assert not (tmp_path / "was_run").exists()
