"""Requests that have been read and not yet begun: how long they wait for the event loop."""

import pytest

from service.scheduling.arrivals import Arrivals


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("service.scheduling.arrivals.monotonic", made)
    return made


def turn(arrivals: Arrivals, clock: Clock, requests: int, seconds: float) -> None:
    """The loop reads so many requests, and then does each of them, in so many seconds in all."""
    for _ in range(requests):
        arrivals.arrive()
    clock.now += seconds
    for _ in range(requests):
        arrivals.begin()


def test_who_arrives_first_waits_for_nobody(clock: Clock) -> None:
    assert (Arrivals().waiting, Arrivals().wait) == (0, 0)


def test_the_wait_is_as_long_as_those_ahead_take_by_what_was_seen(clock: Clock) -> None:
    arrivals = Arrivals()
    turn(arrivals, clock, requests=32, seconds=0.064)
    for _ in range(50):
        arrivals.arrive()
    assert arrivals.waiting == 50
    assert arrivals.wait == pytest.approx(0.1)
    arrivals.begin()
    assert arrivals.wait == pytest.approx(0.098)


def test_the_loop_may_read_on_for_as_long_as_it_did_before(clock: Clock) -> None:
    arrivals = Arrivals()
    turn(arrivals, clock, requests=32, seconds=0.064)
    assert arrivals.wait == 0
    arrivals.arrive()
    assert arrivals.wait == pytest.approx(0.064)


def test_a_short_turn_tells_nothing(clock: Clock) -> None:
    arrivals = Arrivals()
    turn(arrivals, clock, requests=15, seconds=1.0)
    arrivals.arrive()
    assert arrivals.wait == 0


def test_what_was_believed_is_corrected_by_a_fifth_each_time(clock: Clock) -> None:
    arrivals = Arrivals()
    turn(arrivals, clock, requests=16, seconds=0.016)
    turn(arrivals, clock, requests=16, seconds=0.032)
    for _ in range(100):
        arrivals.arrive()
    assert arrivals.wait == pytest.approx(0.12)
