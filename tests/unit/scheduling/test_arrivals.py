"""Requests that have been read and not yet begun: how long they wait for the event loop, and since when."""

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
    for _ in range(10):
        arrivals.arrive()
    assert arrivals.waiting == 10
    assert arrivals.wait == pytest.approx(0.02)
    arrivals.begin()
    assert arrivals.wait == pytest.approx(0.018)


def test_a_short_turn_tells_nothing(clock: Clock) -> None:
    arrivals = Arrivals()
    turn(arrivals, clock, requests=15, seconds=1.0)
    arrivals.arrive()
    assert arrivals.wait == 0


def test_what_was_believed_is_corrected_by_a_fifth_each_time(clock: Clock) -> None:
    arrivals = Arrivals()
    turn(arrivals, clock, requests=16, seconds=0.016)
    turn(arrivals, clock, requests=16, seconds=0.032)
    arrivals.arrive()
    assert arrivals.wait == pytest.approx(0.0012)


def test_a_request_that_finds_the_loop_at_rest_has_come_just_now(clock: Clock) -> None:
    arrivals = Arrivals()
    turn(arrivals, clock, requests=1, seconds=0.5)
    clock.now += 0.001
    assert arrivals.since(clock.now) == clock.now
    assert arrivals.arrive() == clock.now


def test_a_request_that_is_read_behind_a_turn_may_have_come_when_that_began(clock: Clock) -> None:
    arrivals = Arrivals()
    began = clock.now
    turn(arrivals, clock, requests=3, seconds=0.5)
    clock.now += 0.0009
    assert arrivals.since(clock.now) == began
    assert arrivals.arrive() == began


def test_all_that_are_read_in_one_turn_may_have_come_at_the_same_moment(clock: Clock) -> None:
    arrivals = Arrivals()
    first = arrivals.arrive()
    clock.now += 0.3
    assert (arrivals.since(clock.now), arrivals.arrive()) == (first, first)
