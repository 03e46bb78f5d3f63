"""Who may wait: the bounds one by one, the pace that is believed, and the bytes that are held."""

from contextlib import suppress
from math import inf
from typing import Any

import pytest

from service.deadline import NEVER, Deadline
from service.errors import Overloaded
from service.knobs import Admission
from service.scheduling.admission import Budget, Load, Pace, check, overtaken

SAFE = "; nothing was run, the request may be sent again"


def busy(requests: int = 0, rows: int = 0, wait: float = 0.0, pace: float = 0.0) -> Load:
    return Load(True, requests, rows, wait, pace)


@pytest.fixture(autouse=True)
def _at_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.deadline.monotonic", lambda: 100.0)


def within(timeout: float) -> Deadline:
    return Deadline.after(timeout, 100.0)


@pytest.mark.parametrize(
    ("bounds", "load", "rows", "deadline"),
    [
        pytest.param({"max_waiting": 0}, Load(), 10**6, within(0), id="nothing runs"),
        pytest.param({}, busy(), 1, NEVER, id="something runs"),
        pytest.param({"max_waiting": 3}, busy(requests=2), 1, NEVER, id="the last that may wait"),
        pytest.param({"max_rows": 8}, busy(1, rows=6), 2, NEVER, id="the last rows that may wait"),
        pytest.param({"max_rows": 8}, busy(), 9, NEVER, id="more rows than may wait, behind none"),
        pytest.param({"max_rows": 8}, busy(1, rows=8), 0, NEVER, id="no rows need no room"),
        pytest.param({"max_wait_ms": 500}, busy(1, 1, wait=0.5), 1, NEVER, id="the longest wait"),
        pytest.param({}, busy(1, 1, wait=0.5, pace=0.125), 2, within(0.79), id="just in time"),
        pytest.param({}, busy(), 1, within(0), id="nothing is known of the wait"),
    ],
)
def test_within_its_bounds_everybody_may_wait(
    bounds: dict[str, Any], load: Load, rows: int, deadline: Deadline
) -> None:
    check(Admission(**bounds), "cat", load, rows, deadline)


@pytest.mark.parametrize(
    ("bounds", "load", "rows", "deadline", "reason", "sentence"),
    [
        ({"max_waiting": 0}, busy(wait=0.25), 1, NEVER, "waiting", "0 requests wait, the most that may"),
        ({"max_waiting": 3}, busy(requests=3, wait=0.25), 1, NEVER, "waiting", "3 requests wait, the most that may"),
        ({"max_rows": 8}, busy(1, rows=6, wait=0.25), 3, NEVER, "rows", "6 rows wait, 8 may"),
        (
            {"max_wait_ms": 200},
            busy(1, 1, wait=0.25),
            1,
            NEVER,
            "wait",
            "the request would wait about 250 ms for its run, and 200 ms is the most that any may",
        ),
        (
            {},
            busy(1, 1, wait=0.25, pace=0.125),
            2,
            within(0.4),
            "deadline",
            "the request would take about 500 ms, and has 380 ms left of its timeout",
        ),
        (
            {},
            busy(wait=0.25),
            1,
            within(-3),
            "deadline",
            "the request would take about 250 ms, and has 0 ms left of its timeout",
        ),
    ],
)
def test_whoever_is_refused_hears_why_and_when_to_come_again(
    bounds: dict[str, Any], load: Load, rows: int, deadline: Deadline, reason: str, sentence: str
) -> None:
    with pytest.raises(Overloaded) as caught:
        check(Admission(**bounds), "cat", load, rows, deadline)
    refusal = caught.value
    assert (str(refusal), refusal.reason, refusal.retry_after) == (
        f"model 'cat' has too much to do: {sentence}{SAFE}",
        reason,
        0.25,
    )


def test_whoever_was_overtaken_for_too_long_hears_so() -> None:
    refusal = overtaken(Admission(max_wait_ms=250), "cat")
    assert (str(refusal), refusal.reason, refusal.retry_after) == (
        "model 'cat' has too much to do: more urgent requests came for 250 ms, the most that any may wait for its run"
        f"{SAFE}",
        "wait",
        0.25,
    )


def test_a_bound_is_said_in_plain_digits() -> None:
    with pytest.raises(Overloaded, match=r"and 1234567 ms is the most"):
        check(Admission(max_wait_ms=1_234_567), "cat", busy(1, 1, wait=2000), 1, NEVER)


def test_the_first_run_is_believed_wholly() -> None:
    pace = Pace(0.0)
    pace.note(4, 2.0, is_full=True)
    assert pace.seconds == 0.5


def test_later_runs_correct_what_was_believed() -> None:
    pace = Pace(0.5)
    pace.note(4, 4.0, is_full=True)
    assert pace.seconds == pytest.approx(0.6)
    for _ in range(100):
        pace.note(4, 4.0, is_full=True)
    assert pace.seconds == pytest.approx(1)


def test_a_run_of_no_rows_is_noted_as_one() -> None:
    pace = Pace(0.0)
    pace.note(0, 2.0, is_full=True)
    assert pace.seconds == 2


@pytest.mark.parametrize(("believed", "after"), [(0, 0), (0.5, 0.5), (1, 1), (2, 1.8)])
def test_a_run_that_could_have_been_fuller_never_slows_the_pace(believed: float, after: float) -> None:
    pace = Pace(believed)
    pace.note(4, 4.0, is_full=False)
    assert pace.seconds == pytest.approx(after)


def test_what_runs_one_by_one_is_waited_for_at_its_own_pace() -> None:
    pace = Pace(0.5)
    assert pace.wait(2, 4, [], [1, 1, 8]) == 1 + 0.5 + 0.5 + 4
    pace.note_alone(2)
    assert pace.wait(2, 4, [], [1, 1, 8]) == 1 + 2 + 2 + 4
    pace.note_alone(3)
    assert pace.wait(2, 4, [], [1, 1, 8]) == 1 + 2.2 + 2.2 + 4


@pytest.mark.parametrize(
    ("pace", "rows", "running", "wait"),
    [
        pytest.param(0.5, 0, [], 0, id="nothing"),
        pytest.param(0.5, 6, [], 3, id="what waits"),
        pytest.param(0.5, 0, [(4, 0.0)], 2, id="a run that begins"),
        pytest.param(0.5, 0, [(4, 1.5)], 0.5, id="what is left of a run"),
        pytest.param(0.5, 6, [(4, 1.5), (2, 0.25)], 3 + 0.5 + 0.75, id="all together"),
        pytest.param(0.5, 6, [(4, 2.0)], 3, id="a run that is about to end"),
        pytest.param(0.5, 6, [(1, 2.0)], 3, id="a small run may take as long as a full one"),
        pytest.param(0.5, 6, [(4, 8.0)], 12, id="a run that is later than a full one is believed more"),
        pytest.param(0.5, 6, [(8, 8.0)], 6, id="one larger than a full one may take longer"),
        pytest.param(0.5, 0, [(4, 8.0)], 0, id="nothing waits behind the late one"),
        pytest.param(0.0, 6, [], 0, id="nothing is known"),
        pytest.param(0.0, 6, [(4, 2.0)], 3, id="nothing is known but how long the first run takes"),
    ],
)
def test_the_wait_follows_from_the_pace(pace: float, rows: int, running: list[tuple[int, float]], wait: float) -> None:
    assert Pace(pace).wait(rows, 4, running) == pytest.approx(wait)


def test_each_hold_takes_from_the_budget_and_gives_all_back() -> None:
    budget = Budget(10)
    with budget.hold() as one, budget.hold() as two:
        one.resize(4)
        two.resize(5)
        one.resize(5)
        assert (budget.held, one.size, two.size) == (10, 5, 5)
        two.resize(1)
        assert budget.held == 6
    assert budget.held == 0


def test_what_is_too_much_for_the_budget_is_refused_and_changes_nothing() -> None:
    budget = Budget(10)
    with budget.hold() as other, budget.hold() as hold:
        other.resize(4)
        hold.resize(5)
        with pytest.raises(Overloaded) as caught:
            hold.resize(7)
        assert (str(caught.value), caught.value.reason, caught.value.retry_after) == (
            f"request bodies of 9 bytes are held, and 10 may be{SAFE}",
            "bytes",
            1,
        )
        assert (budget.held, hold.size) == (9, 5)
    assert budget.held == 0


def test_a_hold_may_be_asked_first() -> None:
    budget = Budget(10)
    with budget.hold() as other, budget.hold() as hold:
        other.resize(4)
        hold.check(6)
        with pytest.raises(Overloaded):
            hold.check(7)
        hold.resize(6)
        hold.check(6)
        assert budget.held == 10


def test_the_budget_is_given_back_when_the_block_fails() -> None:
    budget = Budget(10)
    with suppress(LookupError), budget.hold() as hold:
        hold.resize(4)
        raise LookupError
    assert budget.held == 0


def test_the_infinite_is_no_bound() -> None:
    check(Admission(), "cat", busy(1, 1, 1.0, 1.0), 1, Deadline(inf, inf))
