"""Work that goes on beside everything else, for as long as a block runs."""

import asyncio
from abc import ABC, abstractmethod
from typing import Self


class Background(ABC):
    """One task of the event loop. It is cancelled at the end of the block, which waits for that."""

    _task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    @abstractmethod
    async def _keep(self) -> None:
        """Goes on until it is cancelled."""
