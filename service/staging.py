"""A worker's part in a reload: it loads the generation that the coordinator asks for, beside the one that it serves.

Nothing here decides: the coordinator names a target on the board, every worker says there that it has staged it, or
why it cannot, and the coordinator commits or calls it off.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Self

import structlog

from service import memory
from service.background import Background
from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.errors import RepositoryError
from service.seat import Seat

log = structlog.get_logger()

_LOOK_SECONDS: Final = 0.05
_PAUSE_SECONDS: Final = 1.0


class Staging(Background):
    """`load` makes the catalogue of a generation, from models that are loaded already where they have not changed."""

    def __init__(
        self, seat: Seat, dataplane: Dataplane, load: Callable[[int, Catalogue], Catalogue], load_seconds: float
    ) -> None:
        self._seat = seat
        self._dataplane = dataplane
        self._load = load
        self._load_seconds = load_seconds

    async def __aenter__(self) -> Self:
        """Before a worker is ready it has staged what is committed, and what may be at any moment.

        Raises RepositoryError where it cannot load the former, and no reload is under way that may replace it.
        """
        service = self._seat.board.service
        while (generation := service.generation) not in self._dataplane.staged:
            try:
                await self._stage(generation)
            except RepositoryError:
                if service.target == generation:
                    raise
                while service.generation == generation != service.target:
                    await self._look()
                    await asyncio.sleep(_LOOK_SECONDS)
        while not self._is_complete():
            await self._look()
            await asyncio.sleep(_LOOK_SECONDS)
        self._seat.row.serve(self._dataplane.catalogue.generation)
        return await super().__aenter__()

    def _is_complete(self) -> bool:
        """Two numbers that another process writes; the target is written first, so it is read last."""
        service = self._seat.board.service
        return {service.generation, service.target} <= self._dataplane.staged

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._look()
            except Exception:  # such as no thread to be had: whatever it is, the next reload shall find us here
                log.exception("staging_failed")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _look(self) -> None:
        service, dataplane = self._seat.board.service, self._dataplane
        if (target := service.target) not in dataplane.staged and target != self._seat.row.refused:
            await self._try(target)
        served = dataplane.catalogue.generation  # to ask is enough to change over, also where no request comes
        for generation in dataplane.staged - {served, service.generation, service.target}:
            dataplane.unstage(generation)  # it was called off
        if garbage := dataplane.take_garbage():
            await asyncio.to_thread(_drop, garbage)

    async def _try(self, target: int) -> None:
        row = self._seat.row
        loading = asyncio.create_task(self._stage(target))
        await asyncio.wait([loading], timeout=self._load_seconds)
        if not loading.done():
            # Its thread cannot be stopped, and would hold up the next reload too.
            self._seat.has_hung_load = True
            loading.add_done_callback(self._forget)
            limit = f"ONNICORN_LIFECYCLE__LOAD_SECONDS={self._load_seconds:g}"
            row.refuse(target, f"a worker has loaded for longer than {limit}")
            return
        try:
            loading.result()
        except RepositoryError as error:
            row.refuse(target, str(error))
        except Exception:
            log.exception("staging_failed", generation=target)
            row.refuse(target, "a worker cannot load it; the log says why")

    def _forget(self, loading: asyncio.Task[None]) -> None:
        """A load has ended long after it was called off; the next look drops what came of it."""
        self._seat.has_hung_load = False
        if not loading.cancelled():
            loading.exception()

    async def _stage(self, generation: int) -> None:
        """In a thread: making a session lets other threads run."""
        known = self._dataplane.catalogue
        self._dataplane.stage(await asyncio.to_thread(self._load, generation, known))
        row = self._seat.row
        row.staged = max(row.staged, generation)  # a load that took too long may end behind a later one
        row.text = ""


def _drop(models: list[Model]) -> None:
    """To free a large one takes long; nobody else knows them any more."""
    models.clear()
    memory.give_back()
