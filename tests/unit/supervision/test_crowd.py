"""One look at many connections, and what they may hold together."""

import asyncio
from typing import Any

import pytest
from structlog.typing import EventDict

from service.knobs import Limits
from service.supervision import crowd
from service.supervision.crowd import INTERVAL, Crowd
from tests.unit.loop import SECONDS, let_pass, turns

MEBIBYTE = 1 << 20


class Transport:
    def __init__(self) -> None:
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return True  # as behind TLS, where there is no half-closed state


class Quiet:
    """A connection that rests, or wants to be looked at, with so many bytes that its client has not taken."""

    def __init__(self, unsent: int = 0, rests_until: float = 0.0) -> None:
        self.unsent = unsent
        self.rests_until = rests_until
        self.looks: list[float] = []
        self.idle_since = None
        self.transport = Transport()

    def look(self, elapsed: float) -> None:
        self.looks.append(elapsed)


def seen(connections: list[Quiet]) -> int:
    """How often any of them was looked at."""
    return sum(len(each.looks) for each in connections)


def crowd_of(*connections: Quiet, **limits: int) -> Crowd:
    members: set[Any] = set(connections)
    return Crowd(members, Limits(**limits), 75)


def test_who_rests_is_passed_over() -> None:
    awake, resting = Quiet(), Quiet(rests_until=100)
    made = crowd_of(awake, resting)
    made.look(7.0)
    made.look(7.0 + INTERVAL)
    assert (awake.looks, resting.looks) == ([INTERVAL] * 2, [])


def test_a_look_that_takes_long_lets_others_have_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is to end connections: each may be refused, logged and counted; and closing comes behind it."""
    monkeypatch.setattr(crowd, "_MOMENT", -1.0)
    monkeypatch.setattr(crowd, "_REST", SECONDS)
    connections = [Quiet() for _ in range(3)]

    async def run() -> list[int]:
        made = crowd_of(*connections)
        made.look(7.0)
        looked = [seen(connections)]
        made.look(7.0 + 2 * INTERVAL)  # the first look goes on
        for _ in range(2):
            await turns()
            looked.append(seen(connections))
            let_pass(SECONDS)
            await turns()
            looked.append(seen(connections))
        made.look(7.0 + 2 * INTERVAL)
        for _ in range(2):
            let_pass(SECONDS)
            await turns()
        return looked

    assert asyncio.run(run()) == [1, 1, 2, 2, 3]
    assert [each.looks for each in connections] == [[INTERVAL, 2 * INTERVAL]] * 3


def test_a_look_at_very_many_comes_to_its_end_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "_MOMENT", -1.0)
    monkeypatch.setattr(crowd, "_REST", SECONDS)
    connections = [Quiet() for _ in range(1279)]

    async def run() -> list[int]:
        made = crowd_of(*connections)
        made.look(7.0)
        looked = [seen(connections)]
        for _ in range(127):
            let_pass(SECONDS)
            await turns()
            looked.append(seen(connections))
        return looked

    assert asyncio.run(run()) == [*range(10, 1271, 10), 1279]


def test_one_that_cannot_be_looked_at_does_not_keep_the_others_from_their_time(records: list[EventDict]) -> None:
    class Broken(Quiet):
        def look(self, elapsed: float) -> None:
            raise AttributeError("cycle")

    others = [Quiet(), Quiet()]
    made = crowd_of(Broken(), *others)
    made.look(7.0)
    made.look(7.0 + INTERVAL)
    assert [each.looks for each in others] == [[INTERVAL] * 2] * 2
    assert [record["event"] for record in records] == ["look_failed"] * 2


def test_who_has_left_during_a_look_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "_MOMENT", -1.0)
    connections = {Quiet(), Quiet()}

    async def run() -> None:
        made = Crowd(connections, Limits(), 75)
        made.look(7.0)
        connections.clear()
        let_pass(SECONDS)
        await turns()

    looked_at = list(connections)
    asyncio.run(run())
    assert sorted(len(each.looks) for each in looked_at) == [0, 1]


def test_answers_that_nobody_takes_have_a_bound_all_together(records: list[EventDict]) -> None:
    small, large, larger = Quiet(unsent=MEBIBYTE // 4), Quiet(unsent=MEBIBYTE), Quiet(unsent=2 * MEBIBYTE)
    crowd_of(small, large, larger, Quiet(), unsent_bytes=2 * MEBIBYTE).look(7.0)
    assert [each.transport.is_aborted for each in (small, large, larger)] == [False, False, True]
    assert records == [
        {"event": "answer_not_taken", "log_level": "warning", "unsent": 2 * MEBIBYTE, "most": 2 * MEBIBYTE}
    ]


def test_within_the_bound_nobody_is_cut_off() -> None:
    waiting = [Quiet(unsent=MEBIBYTE), Quiet(unsent=MEBIBYTE)]
    crowd_of(*waiting, unsent_bytes=2 * MEBIBYTE).look(7.0)
    assert not any(each.transport.is_aborted for each in waiting)


def test_one_alone_may_be_as_large_as_an_answer_can_be() -> None:
    alone = Quiet(unsent=9 * MEBIBYTE)
    crowd_of(alone, Quiet(), unsent_bytes=2 * MEBIBYTE).look(7.0)
    assert not alone.transport.is_aborted


def test_connections_on_their_way_out_do_not_pile_up_either() -> None:
    """They do not count as connections, and yet each is an open file."""
    leaving = [Quiet() for _ in range(100)]
    made = crowd_of(*leaving, connections=3)
    for each in leaving:
        made.leaving[each] = None  # type: ignore[index]
    assert [made.admits(), made.admits()] == [True, True]
    assert [each.transport.is_aborted for each in leaving] == [True] * 2 + [False] * 98
