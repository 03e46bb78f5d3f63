"""Real children: their codes, their signals, and what they say before they fail."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.errors import AddressUnavailable
from service.knobs import Log
from service.supervision import child
from service.telemetry import logs

# From Python 3.12 on; these children only write and leave.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def nothing() -> None:
    pass


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def logged(tmp_path: Path, work: Callable[[], None]) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the records without what differs from run to run."""
    file = tmp_path / "log"

    def work_with_a_log() -> None:
        logs.configure(Log(format="json"), stream)
        work()

    with file.open("w") as stream:
        code = child.wait(child.fork("worker-7", work_with_a_log))
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        assert record.pop("timestamp")
        assert record.pop("pid") != os.getpid()
    return code, records


@pytest.mark.parametrize(("work", "code"), [(nothing, 0), (kill_itself, -signal.SIGKILL)])
def test_a_child_ends_as_its_work_did(work: Callable[[], None], code: int) -> None:
    assert child.wait(child.fork("worker-7", work)) == code


def test_a_child_is_another_process(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "facts").write_text(f"{os.getpid()} {os.getppid()}")

    pid = child.fork("worker-7", work)
    assert child.wait(pid) == 0
    assert (tmp_path / "facts").read_text() == f"{pid} {os.getpid()}"


def test_a_start_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    code, records = logged(tmp_path, fail(AddressUnavailable("it is in use")))
    assert code == 1
    assert records == [{"level": "critical", "event": "address_unavailable", "reason": "it is in use"}]


@pytest.mark.parametrize("error", [LookupError("lost"), KeyboardInterrupt("lost"), SystemExit("lost")])
def test_what_nobody_expected_is_told_with_its_traceback(tmp_path: Path, error: BaseException) -> None:
    code, [record] = logged(tmp_path, fail(error))
    assert code == 1
    assert record.pop("exception").endswith(f"\n{type(error).__name__}: lost")
    assert record == {"level": "critical", "event": "uncaught", "process": "worker-7"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_ends_by_a_signal_that_its_parent_handles(number: signal.Signals) -> None:
    before = signal.signal(number, lambda *_: None)
    try:
        assert child.wait(child.fork("worker-7", lambda: os.kill(os.getpid(), number))) == -number
    finally:
        signal.signal(number, before)


def test_a_child_is_alive_until_it_is_waited_for() -> None:
    pid = child.fork("worker-7", nothing)
    assert child.is_alive(pid)
    child.wait(pid)
    assert not child.is_alive(pid)


def test_nobody_waits_for_a_child_for_longer_than_he_says() -> None:
    pid = child.fork("worker-7", signal.pause)
    with pytest.raises(TimeoutError):
        child.wait(pid, seconds=0)
    child.kill(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_a_child_that_has_ended_may_be_killed_again() -> None:
    pid = child.fork("worker-7", nothing)
    child.wait(pid)
    child.kill(pid)
