"""A turn of the event loop that reads for too long is noticed, and ends with the loop's next turn."""

import asyncio
from collections.abc import Callable

import pytest

from service.scheduling.turn import Turn


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its only number is the time."""
    now = [100.0]
    monkeypatch.setattr("service.scheduling.turn.monotonic", lambda: now[0])
    return now


def in_a_loop(play: Callable[[Turn], None]) -> None:
    async def run() -> None:
        play(Turn())

    asyncio.run(run())


def test_a_turn_is_long_when_ten_milliseconds_have_been_read(clock: list[float]) -> None:
    def play(turn: Turn) -> None:
        assert [turn.is_long() for _ in range(16)] == [False] * 16
        clock[0] += 0.0101
        assert [turn.is_long() for _ in range(17)] == [False] * 15 + [True] * 2

    in_a_loop(play)


def test_a_turn_that_reads_much_in_a_short_time_is_not_long(clock: list[float]) -> None:
    def play(turn: Turn) -> None:
        assert not any(turn.is_long() for _ in range(1000))

    in_a_loop(play)


def test_what_is_to_be_done_begins_another_turn(clock: list[float]) -> None:
    async def run() -> None:
        turn = Turn()
        for _ in range(16):
            turn.is_long()
        clock[0] += 1
        assert [turn.is_long() for _ in range(16)][-1]
        await asyncio.sleep(0)
        assert not any(turn.is_long() for _ in range(32))

    asyncio.run(run())


def test_turns_that_read_little_are_not_taken_for_one(clock: list[float]) -> None:
    async def run() -> None:
        turn = Turn()
        for _ in range(100):
            assert not turn.is_long()
            clock[0] += 1
            await asyncio.sleep(0)

    asyncio.run(run())
