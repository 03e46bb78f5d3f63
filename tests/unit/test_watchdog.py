"""What the watchdog sees, says and does; the time is in the test's hands."""

import threading
import time
from collections.abc import Callable

import pytest
from structlog.typing import EventDict

from service import watchdog as module
from service.engine import runs as engine_runs
from service.engine.runs import Runs
from service.knobs import Lifecycle
from service.seat import Seat
from service.telemetry.record import Record
from service.watchdog import Watchdog, patience

Pass = Callable[[float], None]


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """For all that is looked at, so many seconds are over at once."""
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic_ns", lambda: int(now[0] * 1e9))
    monkeypatch.setattr(engine_runs, "monotonic", lambda: now[0])

    def let_pass(seconds: float) -> None:
        now[0] += seconds

    return let_pass


def watchdog(seat: Seat, *in_flight: Record, runs: Runs | None = None, **settings: float) -> Watchdog:
    seat.row.beat()
    return Watchdog(seat, Lifecycle(**settings), runs or Runs(), in_flight)


@pytest.mark.parametrize(("heartbeat", "silence"), [(1, 0.5), (2, 1), (3, 2), (30, 29)])
def test_it_speaks_before_the_master_acts(heartbeat: float, silence: float) -> None:
    assert patience(heartbeat) == silence


def test_a_loop_that_beats_is_no_news(let_pass: Pass, records: list[EventDict]) -> None:
    dog = watchdog(seat := Seat(), heartbeat_seconds=3)
    for _ in range(10):
        let_pass(1.9)
        dog.look()
        seat.row.beat()
    assert records == []


def test_a_loop_that_stands_still_is_reported_with_its_requests_and_all_stacks(
    let_pass: Pass, records: list[EventDict]
) -> None:
    dog = watchdog(Seat(), Record("7", None, "POST"), Record("8", None, "GET"), heartbeat_seconds=3)
    let_pass(2.5)
    dog.look()
    [record] = records
    assert "MainThread" in [stack["thread"] for stack in record.pop("stacks")]
    assert record == {
        "event": "worker_stuck",
        "log_level": "error",
        "slot": 0,
        "silent_seconds": 2.5,
        "requests": ["7", "8"],
    }


def test_a_standstill_is_reported_once_and_the_next_one_again(let_pass: Pass, records: list[EventDict]) -> None:
    dog = watchdog(seat := Seat(), heartbeat_seconds=3)
    for reports in (1, 2):
        for _ in range(3):
            let_pass(3)
            dog.look()
            assert len(records) == reports
        seat.row.beat()
        dog.look()


def test_a_run_may_take_its_time(let_pass: Pass, records: list[EventDict]) -> None:
    runs = Runs()
    dog = watchdog(seat := Seat(), runs=runs, run_seconds=10, heartbeat_seconds=600)
    with runs.enter("slow", 2) as run:
        let_pass(9.9)
        dog.look()
        assert run.seconds_terminated is None
    assert (seat.is_stuck, records) == (False, [])


def test_a_run_that_takes_too_long_is_terminated_once(let_pass: Pass, records: list[EventDict]) -> None:
    runs = Runs()
    dog = watchdog(seat := Seat(), runs=runs, run_seconds=10, heartbeat_seconds=600)
    with runs.enter("slow", 2) as run:
        let_pass(10)
        dog.look()
        let_pass(module._GRACE_SECONDS - 0.1)
        dog.look()
        assert run.seconds_terminated == pytest.approx(module._GRACE_SECONDS - 0.1)
    assert not seat.is_stuck
    assert records == [
        {"event": "run_terminated", "log_level": "error", "model": "slow", "version": 2, "seconds": 10.0}
    ]


def test_a_run_that_cannot_be_ended_makes_its_worker_one_to_replace(let_pass: Pass, records: list[EventDict]) -> None:
    runs = Runs()
    dog = watchdog(seat := Seat(), runs=runs, run_seconds=10, heartbeat_seconds=600)
    with runs.enter("stuck", 1):
        for _ in range(3):
            let_pass(10)
            dog.look()
    assert seat.is_stuck
    assert [(record["event"], int(record["seconds"])) for record in records] == [
        ("run_terminated", 10),
        ("run_stuck", 20),
    ]


def test_what_still_runs_at_the_end_is_terminated_without_a_word(records: list[EventDict]) -> None:
    runs = Runs()
    with runs.enter("slow", 2) as run:
        with watchdog(Seat(), runs=runs):
            assert run.seconds_terminated is None
        assert run.seconds_terminated is not None
    assert records == []


def test_it_looks_on_in_a_thread_of_its_own_until_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()

    class Counting(Watchdog):
        def look(self) -> None:
            super().look()
            looked.set()

    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.001)
    with Counting(Seat(), Lifecycle(), Runs(), ()):
        assert looked.wait(60)
        assert "watchdog" in [thread.name for thread in threading.enumerate()]
    assert "watchdog" not in [thread.name for thread in threading.enumerate()]
