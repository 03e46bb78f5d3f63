"""A worker's event loop says that it is alive, and measures how late it was."""

import asyncio
from typing import Final

from service.rows import WorkerRow
from service.telemetry.metrics import LOOP_LAG

# Well below the shortest silence that somebody minds: half a second, for a heartbeat of one.
_INTERVAL: Final = 0.2


class Heartbeat:
    """Beats on the worker's row while the block runs."""

    def __init__(self, row: WorkerRow, interval: float = _INTERVAL) -> None:
        self._row = row
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Heartbeat":
        self._row.beat()
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            LOOP_LAG.observe(max(0.0, loop.time() - due))
            self._row.beat()
