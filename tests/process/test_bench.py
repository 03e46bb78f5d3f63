"""`onnicorn bench` against the real service: one that runs, and one that it starts for itself and ends again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.bench.cores import Seats
from service.bench.failures import BenchFailed
from service.bench.server import onnicorn
from tests.process.conftest import (
    MARK,
    ROOT,
    SECONDS,
    StartService,
    alive,
    environment_of,
    kill_what_is_left,
    wait_until_gone,
)

MODELS = ROOT / "models"
QUICK = ("--rate", "50", "--seconds", "0.5", "--connections", "4", "--json", "-")


def command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "service.cli", "bench", *arguments)


@contextmanager
def started(arguments: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """In a session of its own; nothing that carries its mark is left afterwards, whatever has happened."""
    variables = environment_of(MODELS, folder, {"ONNICORN_RUNTIME__WORKERS": "1"})
    process = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_what_is_left(process, folder)


def measured(arguments: Sequence[str], folder: Path) -> tuple[int, Any, str]:
    """The exit code, the document and what was said beside it."""
    with started(arguments, folder) as process:
        stdout, stderr = process.communicate(timeout=4 * SECONDS)
        assert alive(folder) == []
    return process.returncode, json.loads(stdout), stderr


def test_a_service_that_runs_is_measured(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(MODELS)
    code, document, stderr = measured((f"http://{service.api}/v2/models/digits", *QUICK), tmp_path)
    assert (code, stderr.count("\n")) == (0, 1), stderr
    [result] = document["results"]
    [rate] = result["rates"]
    assert (rate["requests"], rate["errors"], document["complete"]) == (25, {}, True)
    assert document["request"].startswith("image FP32[1,64], ")
    # The probe, the warm-up and what is counted.
    inferences = [record for record in service.requests() if record["route"].endswith("/infer")]
    assert len(inferences) == 1 + 25 + 25


def test_a_model_is_measured_under_each_combination_and_nothing_is_left(tmp_path: Path) -> None:
    arguments = ("digits", *QUICK, "--batch", "1,8", "--goal-ms", "60000", "--rounds", "2")
    code, document, stderr = measured(arguments, tmp_path)
    assert code == 0, stderr
    assert [(result["settings"], result["rates"][0]["requests"]) for result in document["results"]] == [
        (settings(rows), 50) for rows in ("1", "8")
    ]
    assert document["recommended"]["settings"] in [settings("1"), settings("8")]
    assert list(tmp_path.iterdir()) == []


def settings(rows: str) -> dict[str, str]:
    return {
        "ONNICORN_RUNTIME__WORKERS": "1",
        "ONNICORN_RUNTIME__INTRA_OP_THREADS": document_threads(),
        "ONNICORN_BATCHING__MAX_ROWS": rows,
    }


def document_threads() -> str:
    """What the plan makes of one worker: all CPUs."""
    from service.knobs import Runtime
    from service.plan import plan_for_this_machine

    return str(plan_for_this_machine(Runtime(workers=1)).intra_op_threads)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_service_that_it_has_started(number: signal.Signals, tmp_path: Path) -> None:
    with started(("digits", "--rate", "10", "--seconds", "3600", "--json", "-"), tmp_path) as process:
        _until_it_is_measured(process, tmp_path)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=SECONDS)
        assert alive(tmp_path) == []
    assert (process.returncode, json.loads(stdout)["complete"]) == (1, False)
    assert stderr.endswith("onnicorn: interrupted; whatever was started for it has been ended\n")
    assert list(tmp_path.iterdir()) == []


def test_if_it_is_killed_nothing_that_it_has_started_goes_on(tmp_path: Path) -> None:
    with started(("digits", "--rate", "10", "--seconds", "3600"), tmp_path) as process:
        _until_it_is_measured(process, tmp_path)
        others = set(alive(tmp_path)) - {process.pid}
        process.kill()
        process.communicate(timeout=SECONDS)
        assert len(others) >= 4  # the generator, the master, its worker, and what the generator has for itself
        for pid in others:
            wait_until_gone(pid)


def _until_it_is_measured(process: subprocess.Popen[str], folder: Path) -> None:
    """The service's log tells that requests have come: the first is the command's own, others are the generator's."""
    while process.poll() is None:
        logs = (log.read_text() for log in folder.glob("onnicorn-bench-*/log"))
        if any(log.count('"/v2/models/{model_name}/infer"') > 1 for log in logs):
            return
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail(f"it has ended with {process.returncode}")


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    environment = environment_of(MODELS, tmp_path, {"ONNICORN_RUNTIME__WORKER": "2", MARK: str(tmp_path)})
    with (
        pytest.raises(BenchFailed) as failed,
        onnicorn(environment, {}, tmp_path, Seats.shared()),
    ):
        pytest.fail("it has started")
    assert str(failed.value) == (
        "the service does not start: ONNICORN_RUNTIME__WORKER is not a setting; the nearest is "
        "ONNICORN_RUNTIME__WORKERS"
    )
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names are enough
