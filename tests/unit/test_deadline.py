"""A timeout becomes a point in time at the door; below it is only looked at."""

from math import inf

import pytest

from service import deadline
from service.deadline import NEVER, Deadline
from service.errors import DeadlineExceeded


@pytest.fixture(autouse=True)
def _at_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "monotonic", lambda: 100.0)


def test_a_deadline_is_so_long_after_the_beginning() -> None:
    made = Deadline.after(1.5, 99.0)
    assert (made, made.remaining) == (Deadline(at=100.5, timeout=1.5), 0.5)


def test_without_a_deadline_there_is_always_time() -> None:
    assert (NEVER, NEVER.remaining) == (Deadline(inf, inf), inf)
    NEVER.check("run")


def test_a_timeout_without_end_is_no_deadline() -> None:
    assert Deadline.after(inf, 99.0) == NEVER


def test_what_has_passed_is_told_by_how_much() -> None:
    assert Deadline.after(1, 96.0).remaining == -3


def test_a_deadline_ahead_is_kept() -> None:
    Deadline.after(1, 99.5).check("run")


@pytest.mark.parametrize("begun", [99.0, 98.0])
def test_a_deadline_that_has_come_is_exceeded_in_a_stage(begun: float) -> None:
    with pytest.raises(
        DeadlineExceeded, match=r"^the request's timeout of 1000 ms passed in stage 'decode'$"
    ) as caught:
        Deadline.after(1, begun).check("decode")
    assert caught.value.stage == "decode"


@pytest.mark.parametrize(
    ("timeout", "said"),
    [(0.0015, "1.5"), (1e-6, "0.001"), (1.1, "1100"), (12_345.678, "12345678"), (86_400, "86400000")],
)
def test_a_timeout_is_said_as_people_write_it(timeout: float, said: str) -> None:
    assert str(Deadline.after(timeout, 0).exceeded("queue")) == (
        f"the request's timeout of {said} ms passed in stage 'queue'"
    )
