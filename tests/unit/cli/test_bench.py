"""`onnicorn bench`: what is said, what is written, and with which code it ends."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from service.bench.program import free_ports
from service.cli.parameters import Output
from tests.unit.bench.peer import Asked, Peer, answer, model, serving
from tests.unit.cli.conftest import Onnicorn

QUICK = ("--rate", "100,200", "--seconds", "0.2", "--connections", "2")
GOAL = ("--goal-ms", "60000")


def fine(request: Asked) -> bytes:
    return answer(200, {"outputs": []})


def url(peer: Peer) -> str:
    return f"http://{peer.endpoint}/v2/models/cat"


def test_a_service_that_runs_is_measured_at_the_rates_that_are_asked_for(onnicorn: Onnicorn, tmp_path: Path) -> None:
    with serving(model(fine, x=("FP32", [-1, 2]))) as peer:
        result = onnicorn("bench", url(peer), *QUICK, "--json", tmp_path / "cat.json", "--header", "x-key: 1", *GOAL)
    assert (result.exit_code, result.stderr) == (
        0,
        f"cat at {url(peer)}, about 1 s (Ctrl-C ends it with what is known then)\n",
    )
    head, sent, _, columns, first, second, *_ = result.stdout.splitlines()
    assert head == f"cat at {url(peer)}, 2 connections, 0.2 s at each rate"
    assert sent.startswith("each request: x FP32[1,2], ")
    assert columns.split()[:4] == ["asked/s", "done/s", "p50", "ms"]
    assert [row.split()[0] for row in (first, second)] == ["100", "200"]
    document = json.loads((tmp_path / "cat.json").read_text())
    [found] = document["results"]
    assert [(each["asked_per_second"], each["requests"], each["errors"]) for each in found["rates"]] == [
        (100, 20, {}),
        (200, 40, {}),
    ]
    assert {request.headers["x-key"] for request in peer.asked} == {"1"}


def test_without_a_rate_it_finds_the_peak_and_measures_at_shares_of_it(onnicorn: Onnicorn, tmp_path: Path) -> None:
    with serving(model(fine, x=("FP32", [-1, 2]))) as peer:
        result = onnicorn("bench", url(peer), "--seconds", "0.5", "--connections", "2", "--json", "-")
    assert result.exit_code == 0
    [found] = json.loads(result.stdout)["results"]
    shares = [round(rate["asked_per_second"] / found["peak_per_second"], 6) for rate in found["rates"]]
    assert shares == [0.1, 0.3, 0.5, 0.7, 0.9]


def test_errors_are_counted_by_status(onnicorn: Onnicorn) -> None:
    lock, count = threading.Lock(), iter(range(10_000))

    def in_turn(request: Asked) -> bytes:
        with lock:
            return answer(200 if next(count) % 2 == 0 else 503)

    with serving(model(in_turn, x=("FP32", [-1, 2]))) as peer:
        result = onnicorn("bench", url(peer), "--rate", "100", "--seconds", "0.2", "--json", "-")
    [rate] = json.loads(result.stdout)["results"][0]["rates"]
    assert (rate["requests"], rate["errors"]) == (20, {"503": 10})


def test_a_request_can_be_given(onnicorn: Onnicorn, tmp_path: Path) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [7, 8]}]})
    (tmp_path / "x.json").write_text(body)
    with serving(model(fine, x=("FP32", [-1, 2]))) as peer:
        assert onnicorn("bench", url(peer), *QUICK, "--input", str(tmp_path / "x.json")).exit_code == 0
    assert {request.body for request in peer.asked if request.method == "POST"} == {body.encode()}


def test_standard_output_needs_no_folder_that_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Output().convert("-", None, None) == Path("-")


def test_a_picture_can_be_drawn(onnicorn: Onnicorn, tmp_path: Path) -> None:
    with serving(model(fine, x=("FP32", [-1, 2]))) as peer:
        assert onnicorn("bench", url(peer), *QUICK, "--picture", str(tmp_path / "cat.svg")).exit_code == 0
    assert (tmp_path / "cat.svg").read_text().startswith("<svg ")


def test_a_goal_that_nothing_meets_is_exit_code_1(onnicorn: Onnicorn) -> None:
    with serving(model(fine, x=("FP32", [-1, 2]))) as peer:
        result = onnicorn("bench", url(peer), *QUICK, "--goal-ms", "0.001")
    assert result.exit_code == 1
    assert "nothing keeps a p99 of 0.001 ms; the nearest is " in " ".join(result.stdout.split())


def test_nobody_there_is_one_line(onnicorn: Onnicorn) -> None:
    (port,) = free_ports(1)
    result = onnicorn("bench", f"http://127.0.0.1:{port}/v2/models/cat")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"onnicorn: nothing answers at 127.0.0.1:{port}: Connection refused")


def test_a_url_without_its_beginning_is_no_model_of_the_repository(onnicorn: Onnicorn) -> None:
    result = onnicorn("bench", "localhost:8000/v2/models/cat")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("onnicorn: localhost:8000/v2/models/cat: expected a URL as http://")


def test_a_model_that_answers_errors_only_is_one_line(onnicorn: Onnicorn) -> None:
    with serving(model(lambda _: answer(500, {"error": "the model failed"}), x=("FP32", [2]))) as peer:
        result = onnicorn("bench", url(peer), *QUICK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "answers errors only" in result.stderr.splitlines()[-1]


def test_a_model_that_answers_errors_only_under_load_is_one_line(onnicorn: Onnicorn) -> None:
    first = iter([answer(200)])
    with serving(model(lambda _: next(first, answer(503)), x=("FP32", [2]))) as peer:
        result = onnicorn("bench", url(peer), "--seconds", "0.5")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("onnicorn: model 'cat' answers errors only under load: 503 x ")


def test_a_model_that_is_not_in_the_repository_is_one_line(onnicorn: Onnicorn, root: Path) -> None:
    for model_name in ("owl", "cat/7"):
        result = onnicorn("bench", model_name)
        sentence = f"onnicorn: there is no model '{model_name}' in {root}; it has 'cat'\n"
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", sentence)


def test_combinations_that_need_more_cpus_than_there_are_are_not_tried(onnicorn: Onnicorn) -> None:
    result = onnicorn("bench", "cat", "--workers", "64,128", "--threads", "64")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "each combination needs more than the " in result.stderr
    assert "--oversubscribed" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["http://127.0.0.1/v2/models/cat", "--workers", "2"], "a service that runs keeps its settings"),
        (["http://127.0.0.1/v2/models/cat", "--repository", "x"], "a service that runs keeps its settings"),
        (["cat", "--seconds", "nan"], "expected a number, got 'nan'"),
        (["cat", "--goal-ms", "nan"], "expected a number, got 'nan'"),
        (["cat", "--rate", "0"], "expected numbers from 0.01 on, separated by commas, got '0'"),
        (["cat", "--batch", "1,x"], "expected numbers from 1 on, separated by commas, got '1,x'"),
        (["cat", "--header", "secret"], "expected NAME: VALUE"),
        (["cat", "--header", "x: \u20ac"], "expected NAME: VALUE in ASCII"),
        (["cat", "--picture", "cat.png"], "expected the name of a file that ends with .svg, got 'cat.png'"),
        (["cat", "--json", "/dev/null/cat"], "/dev/null/cat cannot be written: there is no such folder"),
        (["cat", "--input", "/dev/null", "--binary"], "--binary is for inputs that are made up"),
        ([], "Missing argument"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(onnicorn: Onnicorn, arguments: list[str], sentence: str) -> None:
    result = onnicorn("bench", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in " ".join(result.stderr.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_what_is_known_by_then(onnicorn: Onnicorn, number: signal.Signals) -> None:
    seen = iter(range(10_000))

    def interrupting(request: Asked) -> bytes:
        if next(seen) == 130:  # each round has 60 requests, 10 of which are counted
            os.kill(os.getpid(), number)
        return fine(request)

    endless = ("--rate", "100", "--seconds", "0.1", "--rounds", "100")
    before = signal.getsignal(number)
    with serving(model(interrupting, x=("FP32", [-1, 2]))) as peer:
        result = onnicorn("bench", url(peer), *endless, "--json", "-")
    document = json.loads(result.stdout)
    [rate] = document["results"][0]["rates"]
    assert (result.exit_code, document["complete"], rate["requests"]) == (1, False, 20)
    assert result.stderr.endswith("onnicorn: interrupted; whatever was started for it has been ended\n")
    assert signal.getsignal(number) == before
