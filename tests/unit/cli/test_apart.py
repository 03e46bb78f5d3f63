"""Something done in a child process: what it returns, and how it may end otherwise."""

import faulthandler
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from service.cli.apart import Died, apart
from service.errors import RepositoryError

SECONDS = 60.0


def refuse() -> None:
    raise RepositoryError("it is wrong")


def die(number: signal.Signals) -> None:
    faulthandler.disable()  # pytest's, which would tell the whole stack
    os.kill(os.getpid(), number)


def test_what_is_returned_comes_back_from_another_process() -> None:
    assert apart(os.getpid, SECONDS) != os.getpid()


def test_what_a_model_is_refused_for_is_raised_here() -> None:
    with pytest.raises(RepositoryError, match=r"^it is wrong$"):
        apart(refuse, SECONDS)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (signal.SIGSEGV, "it ended the process by signal 11 (Segmentation fault)"),
        (signal.SIGKILL, "it ended the process by signal 9 (Killed); memory is too small"),
    ],
)
def test_a_crash_is_named(number: signal.Signals, sentence: str) -> None:
    with pytest.raises(Died) as caught:
        apart(partial(die, number), SECONDS)
    assert str(caught.value) == sentence


def test_so_is_an_end_without_an_answer() -> None:
    with pytest.raises(Died, match=r"^it ended the process with exit code 3$"):
        apart(lambda: os._exit(3), SECONDS)


def test_what_does_not_come_to_an_end_is_ended() -> None:
    with pytest.raises(Died, match=r"^not done after 0\.01 s, the limit that ONNICORN_LIFECYCLE__LOAD_SECONDS sets$"):
        apart(signal.pause, 0.01)


def test_ctrl_c_is_not_the_childs_and_stays_ours() -> None:
    def blocked() -> set[int]:
        return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    before = blocked()
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} <= apart(blocked, SECONDS)
    assert blocked() == before


def test_what_is_printed_there_is_no_answer_of_ours() -> None:
    code = "import os; from service.cli.apart import apart; apart(lambda: os.write(1, b'noise'), 60); print('answer')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("answer\n", "noise")
