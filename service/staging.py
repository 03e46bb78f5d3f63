"""A worker's part in a reload: it loads the generation that the coordinator asks for, beside the one that it serves.

Nothing here decides: the coordinator names a target on the board, every worker says there that it has staged it, or
why it cannot, and the coordinator commits or calls it off.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from service import memory
from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.errors import RepositoryError
from service.seat import Seat

log = structlog.get_logger()

_LOOK_SECONDS: Final = 0.05


class Staging:
    """`load` makes the catalogue of a generation, from models that are loaded already where they have not changed."""

    def __init__(self, seat: Seat, dataplane: Dataplane, load: Callable[[int, Catalogue], Catalogue]) -> None:
        self._seat = seat
        self._dataplane = dataplane
        self._load = load
        self._task: asyncio.Task[None] | None = None
        self._served = 0
        self._has_garbage = False

    async def __aenter__(self) -> "Staging":
        """Before a worker is ready it has staged what is committed, and what may be at any moment.

        Raises RepositoryError where it cannot load the former.
        """
        await self._stage(self._seat.board.service.generation)
        while not self._is_complete():
            await self._look()
            await asyncio.sleep(_LOOK_SECONDS)
        self._served = self._dataplane.catalogue.generation
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    def _is_complete(self) -> bool:
        """Two numbers that another process writes; the target is written first, so it is read last."""
        service = self._seat.board.service
        return {service.generation, service.target} <= self._dataplane.staged

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        service, dataplane = self._seat.board.service, self._dataplane
        if (target := service.target) not in dataplane.staged and target != self._seat.row.refused:
            await self._try(target)
        served = dataplane.catalogue.generation  # to ask is enough to change over, also where no request comes
        for generation in dataplane.staged - {served, service.generation, service.target}:
            dataplane.unstage(generation)  # it was called off
        self._has_garbage = self._has_garbage or served != self._served
        self._served = served
        if self._has_garbage and dataplane.is_settled:
            self._has_garbage = False
            await asyncio.to_thread(memory.give_back)

    async def _try(self, target: int) -> None:
        row = self._seat.row
        try:
            await self._stage(target)
        except RepositoryError as error:
            log.error("staging_failed", generation=target, reason=str(error))
            row.refuse(target, str(error))

    async def _stage(self, generation: int) -> None:
        """In a thread: making a session lets other threads run."""
        known = self._dataplane.catalogue
        self._dataplane.stage(await asyncio.to_thread(self._load, generation, known))
        self._seat.row.staged = generation
