"""Programs under the rehearsal: waited for, ended in order, and never left behind."""

import sys
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


def test_a_port_is_free_until_somebody_takes_it() -> None:
    assert not any(answers(f"http://127.0.0.1:{port}/") for port in free_ports(2))
