"""When to give up, told as a story of looks and deaths with their times."""

import pytest

from service.supervision.breaker import DEATHS, SECONDS, Breaker, GiveUp
from service.supervision.exits import Reason

DEADLY = [Reason.KILLED, Reason.CRASHED, Reason.ABORTED, Reason.FAILED]


def die_before_the_start(breaker: Breaker, reason: Reason) -> None:
    breaker.died(reason, started=False, was_ready=False, now=0)


def a_started_service() -> Breaker:
    """With a worker that was ready at 100."""
    breaker = Breaker(0)
    breaker.look(started=True, ready=True, now=100)
    return breaker


@pytest.mark.parametrize("reason", DEADLY)
def test_deaths_before_the_start_end_the_service_with_the_third(reason: Reason) -> None:
    breaker = Breaker(0)
    for _ in range(DEATHS - 1):
        die_before_the_start(breaker, reason)
    with pytest.raises(GiveUp, match=f"3 workers have died before .* started; the last one {reason.value}; "):
        die_before_the_start(breaker, reason)


def test_a_ready_sibling_does_not_hide_deaths_before_the_start() -> None:
    breaker = Breaker(0)
    for _ in range(DEATHS - 1):
        die_before_the_start(breaker, Reason.CRASHED)
        breaker.look(started=False, ready=True, now=1)
    with pytest.raises(GiveUp):
        die_before_the_start(breaker, Reason.CRASHED)


def test_a_worker_that_cannot_boot_before_the_start_ends_it_at_once_and_has_said_why() -> None:
    with pytest.raises(GiveUp, match=r"^$"):
        die_before_the_start(Breaker(0), Reason.BOOT_FAILED)


def test_a_load_that_takes_too_long_before_the_start_ends_it_at_once_and_names_the_setting() -> None:
    with pytest.raises(GiveUp, match="ONNICORN_LIFECYCLE__LOAD_SECONDS"):
        die_before_the_start(Breaker(0), Reason.LOAD_TIMEOUT)


def test_a_slow_start_without_deaths_goes_on() -> None:
    Breaker(0).look(started=False, ready=False, now=10 * SECONDS)


def test_successors_that_die_end_the_service_when_none_was_ready_for_long() -> None:
    breaker = a_started_service()
    breaker.died(Reason.BOOT_FAILED, started=True, was_ready=False, now=101)
    breaker.look(started=True, ready=False, now=100 + SECONDS - 1)
    with pytest.raises(
        GiveUp, match=r"no worker has been ready for 45 s and 1 have died .* the last one boot failed; "
    ):
        breaker.look(started=True, ready=False, now=100 + SECONDS)


def test_successors_that_die_beside_a_ready_worker_do_not() -> None:
    breaker = a_started_service()
    for now in range(101, 101 + int(2 * SECONDS)):
        breaker.died(Reason.BOOT_FAILED, started=True, was_ready=False, now=now)
        breaker.look(started=True, ready=True, now=now)


def test_a_worker_that_serves_between_two_looks_has_been_ready() -> None:
    breaker = a_started_service()
    for now in range(101, 101 + int(2 * SECONDS)):
        breaker.died(Reason.CRASHED, started=True, was_ready=True, now=now)
        breaker.look(started=True, ready=False, now=now)


def test_a_long_load_after_the_only_worker_was_killed_is_not_given_up() -> None:
    breaker = a_started_service()
    breaker.died(Reason.KILLED, started=True, was_ready=True, now=101)
    breaker.look(started=True, ready=False, now=101 + 5 * SECONDS)


def test_deaths_before_a_worker_was_ready_are_forgotten() -> None:
    breaker = a_started_service()
    breaker.died(Reason.KILLED, started=True, was_ready=False, now=101)
    breaker.look(started=True, ready=True, now=120)
    breaker.look(started=True, ready=False, now=120 + 2 * SECONDS)


def test_a_worker_that_took_long_to_leave_in_order_is_not_held_against_its_successor() -> None:
    breaker = a_started_service()
    breaker.left(was_ready=True, now=200)
    breaker.died(Reason.KILLED, started=True, was_ready=False, now=201)
    breaker.look(started=True, ready=False, now=200 + SECONDS - 1)
    with pytest.raises(GiveUp):
        breaker.look(started=True, ready=False, now=200 + SECONDS)


def test_who_leaves_before_it_was_ready_changes_nothing() -> None:
    breaker = a_started_service()
    breaker.died(Reason.KILLED, started=True, was_ready=False, now=101)
    breaker.left(was_ready=False, now=120)
    with pytest.raises(GiveUp):
        breaker.look(started=True, ready=False, now=100 + SECONDS)
