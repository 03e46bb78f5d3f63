"""Whoever waits for an answer is told of, once they have left, to whoever works on it."""

from typing import Any

from service.caller import EXTENSION, Caller, caller_of


def test_a_caller_arrives_at_a_time_and_stays_until_it_leaves() -> None:
    caller = Caller(arrived=7.5)
    assert (caller.arrived, caller.has_left) == (7.5, False)
    caller.leave()
    assert caller.has_left


def test_who_works_for_a_caller_hears_that_it_leaves() -> None:
    caller, heard = Caller(), list[str]()
    with caller.watched(lambda: heard.append("left")):
        assert heard == []
        caller.leave()
        assert heard == ["left"]


def test_who_begins_too_late_hears_at_once() -> None:
    caller, heard = Caller(), list[str]()
    caller.leave()
    with caller.watched(lambda: heard.append("left")):
        assert heard == ["left"]


def test_who_is_done_hears_nothing() -> None:
    caller, heard = Caller(), list[str]()
    with caller.watched(lambda: heard.append("left")):
        pass
    caller.leave()
    assert heard == []


def test_the_server_says_who_calls() -> None:
    caller = Caller()
    assert caller_of({"extensions": {EXTENSION: caller}}) is caller
    nobody: list[dict[str, Any]] = [{}, {"extensions": None}, {"extensions": {}}]
    assert [caller_of(scope).has_left for scope in nobody] == [False] * 3
