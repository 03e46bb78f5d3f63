"""A worker's part in a reload: it stages what it is asked for, and changes over when that is committed."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict

from service.board import Board
from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.errors import RepositoryError
from service.knobs import Admission, Batching
from service.seat import Seat
from service.staging import Staging
from service.telemetry.metrics import ModelObserver
from tests import tiny
from tests.unit.loading import load
from tests.unit.loop import let_pass, until


class Worker:
    """Sits on a board of its own whose first generation is committed; loads one tiny model for each generation."""

    def __init__(self, folder: Path) -> None:
        self.seat = Seat()
        self.seat.share(Board(slots=1), folder)
        self.service = self.seat.board.service
        self.service.commit(1, 1)
        self.seat.take(self.seat.board.occupy())
        self.row = self.seat.row
        self.broken: set[int] = set()
        self.explosive: set[int] = set()
        self.gate: threading.Event | None = None
        self.loaded: list[int] = []
        self.dataplane = Dataplane(Batching(), Admission(), ModelObserver(), lambda: self.service.generation)
        self.staging = Staging(self.seat, self.dataplane, self._load, load_seconds=60)
        self._folder = folder

    @property
    def staged(self) -> list[int]:
        return sorted(self.dataplane.staged)

    def _load(self, generation: int, known: Catalogue) -> Catalogue:
        if generation in self.broken:
            raise RepositoryError("it is broken")
        if generation in self.explosive:
            raise MemoryError
        self.loaded.append(generation)
        if self.gate:
            self.gate.wait(60)
        model = load(tiny.double(), self._folder / str(generation), version=generation)
        return Catalogue(generation, [model])


Scenario = Callable[[Worker], Coroutine[Any, Any, None]]


def play(folder: Path, scenario: Scenario) -> Worker:
    worker = Worker(folder)
    asyncio.run(scenario(worker))
    worker.dataplane.close()
    return worker


def test_a_worker_begins_with_what_is_committed(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        async with worker.staging:
            assert (worker.staged, worker.row.staged, worker.dataplane.resolve("tiny").version) == ([1], 1, 1)

    play(tmp_path, scenario)


def test_a_target_is_staged_beside_it_and_served_from_its_commit_on(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        async with worker.staging:
            worker.service.target = 2
            await until(lambda: worker.row.staged == 2)
            assert (worker.staged, worker.dataplane.resolve("tiny").version) == ([1, 2], 1)
            worker.service.commit(2, 1)
            assert worker.dataplane.resolve("tiny").version == 2
            await until(lambda: worker.staged == [2])

    assert play(tmp_path, scenario).loaded == [1, 2]


def test_what_is_committed_is_served_though_nobody_asks(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        async with worker.staging:
            worker.service.target = 2
            await until(lambda: worker.row.staged == 2)
            worker.service.commit(2, 1)
            await until(lambda: worker.staged == [2])

    play(tmp_path, scenario)


def test_a_target_that_cannot_be_staged_is_refused_once_and_the_reason_shown(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        worker.broken = {2}
        async with worker.staging:
            worker.service.target = 2
            await until(lambda: worker.row.refused == 2)
            assert (worker.row.text, worker.staged, worker.row.staged) == ("it is broken", [1], 1)
            worker.service.target = 3
            await until(lambda: worker.row.staged == 3)

    assert play(tmp_path, scenario).loaded == [1, 3]


def test_a_target_that_is_called_off_is_forgotten(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        async with worker.staging:
            worker.service.target = 2
            await until(lambda: worker.row.staged == 2)
            worker.service.target = 1
            await until(lambda: worker.staged == [1])

    play(tmp_path, scenario)


def test_a_worker_that_starts_during_a_reload_is_not_ready_before_it_has_staged_the_target(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        worker.service.target = 2
        async with worker.staging:
            assert (worker.staged, worker.row.staged) == ([1, 2], 2)

    assert play(tmp_path, scenario).loaded == [1, 2]


def test_a_worker_that_starts_during_a_reload_that_it_cannot_follow_waits_until_it_is_called_off(
    tmp_path: Path,
) -> None:
    async def scenario(worker: Worker) -> None:
        worker.broken = {2}
        worker.service.target = 2

        async def coordinate() -> None:
            await until(lambda: worker.row.refused == 2)
            worker.service.target = 1

        async with asyncio.TaskGroup() as group:
            group.create_task(coordinate())
            async with worker.staging:
                assert worker.staged == [1]

    play(tmp_path, scenario)


def test_a_worker_that_cannot_load_what_is_committed_does_not_begin(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        worker.broken = {1}
        with pytest.raises(RepositoryError, match="it is broken"):
            await worker.staging.__aenter__()

    play(tmp_path, scenario)


def test_a_worker_that_cannot_load_what_is_committed_begins_with_what_a_reload_brings(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        worker.broken = {1}
        worker.service.target = 2

        async def coordinate() -> None:
            await until(lambda: worker.row.staged == 2)
            worker.service.commit(2, 1)

        async with asyncio.TaskGroup() as group:
            group.create_task(coordinate())
            async with worker.staging:
                assert (worker.staged, worker.dataplane.resolve("tiny").version) == ([2], 2)

    assert play(tmp_path, scenario).loaded == [2]


def test_a_worker_that_cannot_load_what_is_committed_ends_when_the_reload_is_called_off(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        worker.broken = {1, 2}
        worker.service.target = 2

        async def coordinate() -> None:
            await until(lambda: worker.row.refused == 2)
            worker.service.target = 1

        async with asyncio.TaskGroup() as group:
            group.create_task(coordinate())
            with pytest.raises(RepositoryError, match="it is broken"):
                await worker.staging.__aenter__()

    play(tmp_path, scenario)


def test_whatever_goes_wrong_while_a_target_is_staged_is_a_refusal(tmp_path: Path, records: list[EventDict]) -> None:
    async def scenario(worker: Worker) -> None:
        async with worker.staging:
            worker.explosive = {2}
            worker.service.target = 2
            await until(lambda: worker.row.refused == 2)
            assert worker.row.text == "a worker cannot load it; the log says why"
            worker.service.target = 3
            await until(lambda: worker.row.staged == 3)

    assert play(tmp_path, scenario).loaded == [1, 3]
    assert [record["event"] for record in records if record["log_level"] == "error"] == ["staging_failed"]


def test_a_load_that_does_not_end_makes_its_worker_one_to_replace(tmp_path: Path) -> None:
    async def scenario(worker: Worker) -> None:
        async with worker.staging:
            worker.gate = threading.Event()
            worker.service.target = 2
            await until(lambda: worker.loaded == [1, 2])
            let_pass(61)
            await until(lambda: worker.row.refused == 2)
            assert (worker.seat.has_hung_load, worker.staged) == (True, [1])
            worker.gate.set()
            worker.row.staged = 7  # meanwhile a later one was staged
            await until(lambda: not worker.seat.has_hung_load)
            assert worker.row.staged == 7

    play(tmp_path, scenario)
