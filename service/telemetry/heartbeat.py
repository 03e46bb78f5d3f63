"""A worker's event loop says that it is alive, and measures how late it was."""

import asyncio
from typing import Final, Self

from service.background import Background
from service.rows import WorkerRow
from service.telemetry.metrics import LOOP_LAG

# Well below the shortest silence that somebody minds: half a second, for a heartbeat of one.
_INTERVAL: Final = 0.2


class Heartbeat(Background):
    """Beats on the worker's row while the block runs."""

    def __init__(self, row: WorkerRow, interval: float = _INTERVAL) -> None:
        self._row = row
        self._interval = interval

    async def __aenter__(self) -> Self:
        self._row.beat()
        return await super().__aenter__()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            LOOP_LAG.observe(max(0.0, loop.time() - due))
            self._row.beat()
