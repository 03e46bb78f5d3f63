"""Every line that the service prints, from its first to its last."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.oip import Answer, Json, assert_problem, tensor
from tests.process.conftest import COMMAND, ROOT, SECONDS, client, environment_of, kill_what_is_left, running
from tests.process.double import BODY, INFER, ROUTE, serve_double
from tests.process.wire import wire

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
STAGES = ("decode_ms", "queue_ms", "run_ms", "encode_ms")


@dataclass
class Life:
    """A service that has ended: what it answered, by name, and what it printed."""

    answers: dict[str, Answer] = field(default_factory=dict)
    records: list[Json] = field(default_factory=list)
    stderr: str = ""

    def line(self, name: str) -> Json:
        """The one line of that request."""
        request_id = self.answers[name].headers["X-Request-ID"]
        (line,) = [record for record in self.records if record.get("request_id") == request_id]
        return line


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A short one, with every kind of request."""
    folder = tmp_path_factory.mktemp("life")
    repository = tiny.repository(folder / "models", double=tiny.double(), failing=tiny.failing())
    life = Life()
    with running(repository, folder) as service:
        with client(service.api) as api:
            for name, request in requests().items():
                life.answers[name] = api.send(api.build_request(**request))
        with wire(service.api) as connection:
            connection.send(b"\x00garbage\r\n\r\n")
            life.answers["garbage"] = connection.answer()
            assert connection.rest() == b""
    life.records = service.records()
    assert service.stdout.read_text().endswith("\n")
    life.stderr = service.stderr.read_text()
    return life


def requests() -> dict[str, dict[str, Any]]:
    """By what happens to them."""
    traced = {"X-Request-ID": "order-66", "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
    out_of_range = {"inputs": [tensor("index", "INT64", [1], [99])]}
    return {
        "health": {"method": "GET", "url": "/v2/health/ready"},
        "head": {"method": "HEAD", "url": "/v2/health/ready"},
        "inferred": {"method": "POST", "url": INFER, "content": BODY},
        "traced": {"method": "POST", "url": INFER, "content": BODY, "headers": traced},
        "malformed": {"method": "POST", "url": INFER, "content": b"{"},
        "failed": {"method": "POST", "url": "/v2/models/failing/infer", "json": out_of_range},
        "unknown model": {"method": "POST", "url": "/v2/models/nobody/infer", "content": BODY},
        "unknown path": {"method": "GET", "url": "/line\u2028break%0Aand%22quote"},
        "wrong method": {"method": "GET", "url": INFER},
    }


def test_every_line_is_one_json_object_with_the_same_first_fields(life: Life) -> None:
    assert life.stderr == ""
    assert {tuple(record)[:3] for record in life.records} == {("timestamp", "level", "event")}
    assert {type(record["pid"]) for record in life.records} == {int}
    assert {record["level"] for record in life.records} <= {"info", "warning", "error"}


def test_the_libraries_lines_are_among_them(life: Life) -> None:
    assert {"gunicorn.error", "uvicorn.error"} <= {record.get("logger") for record in life.records}


def test_every_request_has_one_line_of_its_own(life: Life) -> None:
    logged = [(record["request_id"], record["status"]) for record in life.records if record["event"] == "request"]
    answered = [(answer.headers["X-Request-ID"], answer.status_code) for answer in life.answers.values()]
    assert sorted(logged) == sorted(answered)
    assert {name: answer.status_code for name, answer in life.answers.items()} == {
        "health": 200,
        "head": 200,
        "inferred": 200,
        "traced": 200,
        "malformed": 400,
        "failed": 500,
        "unknown model": 404,
        "unknown path": 404,
        "wrong method": 405,
        "garbage": 400,
    }


def test_the_line_of_an_inference_has_its_sizes_and_its_stages(life: Life) -> None:
    line = life.line("inferred")
    answer = life.answers["inferred"]
    facts = {key: line[key] for key in line if key not in ("timestamp", "pid", "duration_ms", *STAGES)}
    assert facts == {
        "level": "info",
        "event": "request",
        "method": "POST",
        "route": ROUTE,
        "status": 200,
        "request_id": answer.headers["X-Request-ID"],
        "bytes_in": len(BODY),
        "bytes_out": len(answer.content),
        "model": "double",
        "version": 1,
        "rows": 1,
    }
    assert [stage for stage in STAGES if not 0 <= line[stage] <= line["duration_ms"]] == []


def test_the_line_of_a_traced_request_names_its_trace_and_our_span(life: Life) -> None:
    line = life.line("traced")
    assert (line["request_id"], line["trace_id"]) == ("order-66", TRACE_ID)
    assert life.answers["traced"].headers["traceparent"] == f"00-{TRACE_ID}-{line['span_id']}-01"


@pytest.mark.parametrize("name", ["malformed", "unknown model", "unknown path", "wrong method", "garbage"])
def test_a_callers_mistake_is_logged_with_its_code_and_reason_and_no_traceback(life: Life, name: str) -> None:
    line, body = life.line(name), life.answers[name].json()
    assert (line["level"], line["code"], line["reason"]) == ("info", body["code"], body["error"])
    assert "exception" not in line


def test_garbage_on_the_api_port_is_a_problem_under_the_lines_request_id(life: Life) -> None:
    answer = life.answers["garbage"]
    assert_problem(answer, 400, "malformed_request", "HTTP/1.1")
    assert answer.headers["Connection"] == "close"
    line = life.line("garbage")
    assert (line["route"], line["bytes_out"]) == ("unmatched", len(answer.content))


def test_a_model_that_fails_is_logged_with_its_traceback_of_which_the_caller_sees_nothing(life: Life) -> None:
    line = life.line("failed")
    assert_problem(life.answers["failed"], 500, "inference_failed", "failing")
    assert (line["level"], line["model"], line["code"]) == ("error", "failing", "inference_failed")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert tiny.SECRET in line["exception"]
    assert [name for name, answer in life.answers.items() if tiny.SECRET.encode() in answer.content] == []
    assert [record for record in life.records if "Traceback" in str(record)] == [line]


def test_what_the_service_serves_is_announced_once_when_all_workers_are_ready(life: Life) -> None:
    (line,) = [record for record in life.records if record["event"] == "ready"]
    assert line["models"] == ["double/1", "failing/1"]


@dataclass
class Terminal:
    """What stands on it so far."""

    descriptor: int
    text: str = ""

    def read_until(self, pattern: str) -> re.Match[str]:
        while not (found := re.search(pattern, self.text)):
            assert self._read(), f"it ended without {pattern!r}:\n{self.text}"
        return found

    def read_to_the_end(self) -> None:
        while self._read():
            pass

    def _read(self) -> bool:
        readable, _, _ = select.select([self.descriptor], [], [], SECONDS)
        assert readable, f"nothing more in {SECONDS} s:\n{self.text}"
        try:
            data = os.read(self.descriptor, 65_536)
        except OSError:  # Linux's way to say that nobody has the other side open any more
            return False
        self.text += data.decode()
        return bool(data)


@contextmanager
def on_a_terminal(repository: Path, folder: Path, **environment: str) -> Iterator[Terminal]:
    """A service that somebody has typed the command of; it ends with Ctrl-C and 0."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0), os.fdopen(theirs, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=environment_of(repository, folder, environment),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        terminal.close()
        screen = Terminal(ours)
        try:
            yield screen
            os.killpg(process.pid, signal.SIGINT)
            screen.read_to_the_end()
            assert process.wait(timeout=SECONDS) == 0, screen.text
        finally:
            kill_what_is_left(process, folder)


def curl() -> None:
    if shutil.which("curl") is None:
        if "CI" in os.environ:
            pytest.fail("CI must have curl: see .ci/run")
        pytest.skip("curl is not installed")


def test_a_terminal_shows_a_command_that_can_be_copied_and_works(tmp_path: Path) -> None:
    curl()
    with on_a_terminal(ROOT / "models", tmp_path) as screen:
        command = screen.read_until(r"\n(curl -s [^\r\n]+)\r?\n")[1]
        ran = subprocess.run(
            f"{command} --noproxy '*' --write-out '\\n%{{http_code}}'",
            shell=True,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        answer, status = ran.stdout.rsplit("\n", 1)
        assert (status, ran.stderr) == ("200", "")
        assert {output["name"] for output in json.loads(answer)["outputs"]} == {"label", "probabilities"}
        screen.read_until(r"request .*200")
    assert [line for line in screen.text.splitlines() if line.startswith("{")] == []


def test_a_terminal_gets_json_where_that_is_asked_for(tmp_path: Path) -> None:
    with on_a_terminal(serve_double(tmp_path), tmp_path, ONNICORN_LOG__FORMAT="json") as screen:
        screen.read_until('"event":"ready"')
    lines = screen.text.replace("^C", "").splitlines()
    assert [line for line in lines if not isinstance(json.loads(line), dict)] == []


def test_the_level_silences_what_is_below_it(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path, ONNICORN_LOG__LEVEL="error") as service:
        assert service.get("/nowhere").status_code == 404
    assert (service.stdout.read_text(), service.stderr.read_text()) == ("", "")
