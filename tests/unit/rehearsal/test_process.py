"""Programs under the rehearsal: waited for, ended in order, and never left behind."""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from rehearsal.process import Failed, answers, free_ports, running

WAIT = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(7)); print('up', flush=True); signal.pause()"


def test_a_program_is_waited_for_and_its_exit_code_told(tmp_path: Path) -> None:
    with running("one", (sys.executable, "-c", WAIT), tmp_path) as program:
        program.wait_until(lambda: program.output.read_text() == "up\n", "up")
        assert program.end() == 7


def test_a_program_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(Failed, match=r"one ended with 3 before it was up: see .*/one\.log"),
        running("one", (sys.executable, "-c", "exit(3)"), tmp_path) as program,
    ):
        program.wait_until(lambda: False, "up")


def test_nothing_is_left_when_the_block_ends(tmp_path: Path) -> None:
    with running("one", (sys.executable, "-c", WAIT), tmp_path) as program:
        program.wait_until(lambda: program.output.read_text() == "up\n", "up")
    assert program.process.poll() == 7


INTERRUPTS = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGINT))
print("up", flush=True)
while True:
    signal.pause()
"""


def test_nothing_is_left_however_often_ctrl_c_is_pressed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        program = stack.enter_context(running("one", (sys.executable, "-c", INTERRUPTS), tmp_path))
        program.wait_until(lambda: program.output.read_text() == "up\n", "up")
        with pytest.raises(KeyboardInterrupt):
            stack.close()
    assert program.process.poll() == -signal.SIGKILL


def test_what_is_set_for_another_service_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONNICORN_HTTP__BIND", "GUNICORN_CMD_ARGS", "OURS"):
        monkeypatch.setenv(name, "x")
    printing = "import os; print(sorted({*os.environ} & {'ONNICORN_HTTP__BIND', 'GUNICORN_CMD_ARGS', 'OURS', 'MINE'}))"
    with running("one", (sys.executable, "-c", printing), tmp_path, MINE="y") as program:
        assert program.process.wait() == 0
    assert program.output.read_text() == "['MINE', 'OURS']\n"


def test_no_proxy_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    serving = (sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), "0")
    with running("one", serving, tmp_path) as program:
        program.wait_until(lambda: "http://" in program.output.read_text(), "listening")
        address = program.output.read_text().partition("(")[2].partition(")")[0]
        program.wait_until(lambda: answers(address), "answering")


def test_a_port_is_free_until_somebody_takes_it() -> None:
    assert not any(answers(f"http://127.0.0.1:{port}/") for port in free_ports(2))
