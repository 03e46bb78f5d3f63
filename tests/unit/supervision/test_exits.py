"""Why a worker has ended: the reason, the line and the count."""

import signal
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.board import Board
from service.rows import State
from service.supervision import exits
from service.supervision.exits import Ended, Reason, reason_of
from service.telemetry.metrics import REGISTRY


@pytest.mark.parametrize(
    ("code", "asked", "reason"),
    [
        (0, None, Reason.STOPPED),
        (-signal.SIGTERM, None, Reason.STOPPED),
        (-signal.SIGQUIT, None, Reason.STOPPED),
        (0, Reason.RECYCLED, Reason.RECYCLED),
        (0, Reason.LOAD_TIMEOUT, Reason.STOPPED),
        (-signal.SIGKILL, None, Reason.KILLED),
        (-signal.SIGKILL, Reason.RECYCLED, Reason.KILLED),
        (-signal.SIGKILL, Reason.ABORTED, Reason.ABORTED),
        (-signal.SIGKILL, Reason.STOPPED, Reason.STOPPED),
        (-signal.SIGABRT, None, Reason.ABORTED),
        (-signal.SIGABRT, Reason.LOAD_TIMEOUT, Reason.LOAD_TIMEOUT),
        (-signal.SIGKILL, Reason.LOAD_TIMEOUT, Reason.LOAD_TIMEOUT),
        (-signal.SIGSEGV, None, Reason.CRASHED),
        (-signal.SIGRTMIN, None, Reason.CRASHED),
        (3, None, Reason.BOOT_FAILED),
        (4, None, Reason.BOOT_FAILED),
        (75, None, Reason.BOOT_FAILED),
        (1, None, Reason.FAILED),
        (7, Reason.RECYCLED, Reason.FAILED),
    ],
)
def test_an_end_has_its_reason(code: int, asked: Reason | None, reason: Reason) -> None:
    assert reason_of(code, asked) is reason


def record(code: int, reason: Reason) -> dict[str, Any]:
    """Of a worker that had become ready, without what differs from run to run."""
    board = Board(slots=2)
    board.occupy()
    row = board.rows[board.occupy()]
    row.move(State.READY)
    row.serve(3)
    row.connections = 5
    with capture_logs() as records:
        exits.account(Ended(pid=4711, slot=1, code=code, born=100.0), reason, row, now=107.5)
    [found] = records
    assert found.pop("state_seconds") >= 0
    assert found.pop("silent_seconds") >= 0
    return dict(found)


KNOWN = {
    "event": "worker_exited",
    "worker": 1,
    "worker_pid": 4711,
    "uptime_seconds": 7.5,
    "state": "READY",
    "connections": 5,
    "generation": 3,
}


def test_a_death_is_told_with_its_signal_and_what_the_worker_did_last() -> None:
    expected = KNOWN | {"log_level": "error", "reason": "crashed", "signal": "SIGSEGV"}
    assert record(-signal.SIGSEGV, Reason.CRASHED) == expected


def test_an_end_in_order_is_no_error() -> None:
    assert record(0, Reason.STOPPED) == KNOWN | {"log_level": "info", "reason": "stopped", "exit_code": 0}


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert exits.signal_name(-signal.SIGRTMIN - 1) == f"signal {signal.SIGRTMIN + 1}"


def test_each_end_is_counted_and_each_reason_is_shown_before_it_was_seen() -> None:
    def count(reason: Reason) -> float | None:
        return REGISTRY.get_sample_value("onnicorn_worker_exits_total", {"reason": reason.value})

    exits.show_all()
    before = {reason: count(reason) or 0 for reason in Reason}
    record(0, Reason.RECYCLED)
    assert {reason: count(reason) for reason in Reason} == before | {Reason.RECYCLED: before[Reason.RECYCLED] + 1}
