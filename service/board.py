"""What each process shows to the others.

One memory page range, mapped by every process of the service: a row for the service and a row for each worker slot.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from time import time
from typing import Final

from service.rows import ROW, ServiceRow, State, WorkerRow

SLOTS: Final = 256


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker as the others see it."""

    slot: int
    pid: int
    state: str
    generation: int
    connections: int
    silent_seconds: float
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer to a probe: yes or no, and the reasons for a no."""

    yes: bool
    reasons: tuple[str, ...] = ()


class Board:
    """The shared rows. Made before the first fork; its memory belongs to all processes after it."""

    def __init__(self, slots: int = SLOTS) -> None:
        self.since = time()  # when the service began: a number, so each process has it from the fork
        self._memory = memoryview(mmap.mmap(-1, (slots + 1) * ROW))
        self.service = ServiceRow(self._memory, 0)
        self.rows = [WorkerRow(self._memory, index + 1) for index in range(slots)]

    def occupy(self) -> int:
        """Take the lowest free slot, so that slots (and the files named by them) stay few."""
        slot = next(slot for slot, row in enumerate(self.rows) if row.state is State.FREE)
        self.rows[slot].occupy()
        self.service.slots_used = max(self.service.slots_used, slot + 1)
        return slot

    def occupied(self) -> Iterator[WorkerRow]:
        """The rows of workers that live."""
        return (row for row in self.rows[: self.service.slots_used] if row.state is not State.FREE)

    def workers(self) -> list[Worker]:
        return list(self._workers())

    def _workers(self) -> Iterator[Worker]:
        for slot, row in enumerate(self.rows[: self.service.slots_used]):
            if (state := row.state) is not State.FREE:
                yield Worker(
                    slot, row.pid, state.name, row.generation, row.connections, round(row.silent_seconds, 3), row.text
                )

    def note_start(self) -> bool:
        """Called by a worker that became ready: True where that completes the start."""
        ready = sum(row.state is State.READY for row in self.occupied())
        if self.service.started or ready < self.service.workers:
            return False
        self.service.started = True
        return True

    def started(self) -> Verdict:
        """Has every worker been ready? Once yes, always yes."""
        service = self.service
        if service.started:
            return Verdict(True)
        if not service.generation:
            return Verdict(False, (service.text or "the models are not prepared yet",))
        ready = sum(worker.state == State.READY.name for worker in self._workers())
        return Verdict(False, (f"{ready} of {service.workers} workers are ready", *self._unready()))

    def ready(self) -> Verdict:
        """May requests be sent here?"""
        started = self.started()
        if not started.yes:
            return started
        if self.service.terminating:
            return Verdict(False, ("the service is draining",))
        if not self.service.models:
            return Verdict(False, ("the repository has no model",))
        if not any(map(_answers, self.occupied())):
            return Verdict(False, ("no worker is ready", *self._unready()))
        return Verdict(True)

    def live(self, heartbeat_seconds: float) -> Verdict:
        """Is there any hope? No only when every worker's event loop has been silent for too long."""
        silent = [worker.silent_seconds for worker in self._workers() if worker.state != State.STARTING.name]
        if not silent or min(silent) <= heartbeat_seconds:
            return Verdict(True)
        return Verdict(False, (f"every worker's event loop has been silent for {min(silent):.0f} s or more",))

    def _unready(self) -> Iterator[str]:
        for worker in self._workers():
            if worker.state != State.READY.name:
                yield f"worker {worker.slot} is {worker.state}" + (f": {worker.note}" if worker.note else "")


def _answers(row: WorkerRow) -> bool:
    """A worker that leaves while others stay answers whoever comes, for as long as it accepts."""
    return row.state is State.READY or (row.state is State.DRAINING and row.accepts)
