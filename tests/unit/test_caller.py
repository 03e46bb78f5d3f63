"""Whoever waits for an answer, and what hears of it when they leave."""

import pytest

from service import caller
from service.caller import EXTENSION, NOBODY, Caller, ClientLeft, caller_of


class Ears:
    def __init__(self) -> None:
        self.heard = 0

    def __call__(self) -> None:
        self.heard += 1


def test_a_caller_has_arrived_when_it_was_read_or_before_that_if_it_lay_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "monotonic", lambda: 7.0)
    assert Caller(lambda: 5.0).arrived() == 5.0
    assert Caller(lambda: 9.0).arrived() == 7.0  # the body came later


def test_whoever_watches_hears_of_a_caller_that_leaves() -> None:
    someone, ears = Caller(), Ears()
    with someone.watched(ears):
        assert (someone.has_left, ears.heard) == (False, 0)
        someone.leave()
        assert (someone.has_left, ears.heard) == (True, 1)


def test_whoever_comes_late_hears_at_once() -> None:
    someone, ears = Caller(), Ears()
    someone.leave()
    with someone.watched(ears):
        assert ears.heard == 1


@pytest.mark.parametrize("error", [None, LookupError()])
def test_whoever_has_stopped_watching_hears_nothing(error: Exception | None) -> None:
    someone, ears = Caller(), Ears()
    try:
        with someone.watched(ears):
            if error:
                raise error
    except LookupError:
        pass
    someone.leave()
    assert ears.heard == 0


def test_one_may_watch_after_another() -> None:
    someone, first, second = Caller(), Ears(), Ears()
    with someone.watched(first):
        pass
    with someone.watched(second):
        someone.leave()
    assert (first.heard, second.heard) == (0, 1)


def test_any_number_may_watch_nobody() -> None:
    ears = Ears()
    with NOBODY.watched(ears), NOBODY.watched(ears):
        pass
    assert (ears.heard, NOBODY.has_left) == (0, False)


def test_the_caller_is_the_one_that_the_server_knows() -> None:
    known = Caller()
    assert caller_of({"extensions": {EXTENSION: known}}) is known


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {}}, {"extensions": {"tls": {}}}])
def test_where_the_server_does_not_tell_the_caller_is_new_and_stays(scope: object) -> None:
    someone = caller_of(scope)
    assert (type(someone), someone.has_left) == (Caller, False)
    assert caller_of(scope) is not someone


def test_a_client_has_left_in_a_stage() -> None:
    left = ClientLeft("queue")
    assert (left.stage, str(left)) == ("queue", "queue")
