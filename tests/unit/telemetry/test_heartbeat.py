"""The event loop beats on its row while it is well, and says how late it is."""

import asyncio

from service.board import Board
from service.rows import WorkerRow
from service.telemetry.heartbeat import Heartbeat
from service.telemetry.metrics import REGISTRY

INTERVAL = 0.001


class CountingRow(WorkerRow):
    """Tells when it has been beaten on three times."""

    def __init__(self, row: WorkerRow) -> None:
        self._words, self._bytes = row._words, row._bytes
        self.beats = 0
        self.alive = asyncio.Event()

    def beat(self) -> None:
        super().beat()
        self.beats += 1
        if self.beats == 3:
            self.alive.set()


def lags(what: str) -> float:
    return REGISTRY.get_sample_value(f"onnicorn_event_loop_lag_seconds_{what}") or 0


def test_the_loop_beats_until_the_block_ends() -> None:
    async def scenario() -> None:
        row = CountingRow(Board(slots=1).rows[0])
        never_beaten = row.silent_seconds
        before, late = lags("count"), lags("sum")
        async with Heartbeat(row, INTERVAL):
            assert row.beats == 1
            await asyncio.wait_for(row.alive.wait(), 60)
        assert row.silent_seconds < never_beaten
        assert lags("count") == before + row.beats - 1
        assert lags("sum") >= late
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_a_block_that_fails_ends_the_beat() -> None:
    async def scenario() -> None:
        row = Board(slots=1).rows[0]
        try:
            async with Heartbeat(row):
                raise LookupError
        except LookupError:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
