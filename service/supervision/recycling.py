"""Before the container runs out of memory, the worker that holds the most is replaced, in order.

The kernel would kill without asking; under Kubernetes all processes of the container at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from service.board import Board
from service.cgroup import Cgroup
from service.process import usage_of
from service.rows import State

log = structlog.get_logger()

# How long nobody is recycled after somebody was, in seconds: a successor must load, and memory be given back.
PAUSE: Final = 60.0
# Whoever has not grown by so much since it became ready gives nothing back: its successor would need as much.
GROWTH: Final = 1.1


@dataclass(frozen=True, slots=True)
class Holder:
    """A ready worker, its private memory now and when it was first seen ready, in bytes."""

    pid: int
    private: int
    first: int


def choose(holders: Iterable[Holder]) -> Holder | None:
    """The one with the most private memory, of those that have grown."""
    grown = (holder for holder in holders if holder.private > GROWTH * holder.first)
    return max(grown, key=lambda holder: holder.private, default=None)


class Recycler:
    """Lives in the master. `share` is that of the container's memory limit; without a limit, or with 0, it rests."""

    def __init__(self, share: float, board: Board, cgroup: Cgroup) -> None:
        self._threshold = share * (cgroup.memory_limit() or 0)
        self._board = board
        self._cgroup = cgroup
        self._first: dict[int, int] = {}
        self._not_before = 0.0

    def due(self, now: float) -> int | None:
        """Called about once a second: the pid of a worker that should leave now."""
        if not self._threshold:
            return None
        ready = [row.pid for row in self._board.occupied() if row.state is State.READY]
        self._remember(ready)
        used = self._cgroup.working_set() or 0
        if used < self._threshold or now < self._not_before or not self._is_calm(len(ready)):
            return None
        chosen = choose(self._holders(ready))
        if chosen is None:
            return None
        self._not_before = now + PAUSE
        log.warning(
            "worker_recycled",
            worker_pid=chosen.pid,
            private_bytes=chosen.private,
            private_bytes_at_first=chosen.first,
            working_set_bytes=used,
            threshold_bytes=int(self._threshold),
        )
        return chosen.pid

    def _is_calm(self, ready: int) -> bool:
        """Everybody is there, and no reload is under way, in which they would hold two generations."""
        service = self._board.service
        return service.started and ready >= service.workers and service.target <= service.generation

    def _remember(self, ready: Sequence[int]) -> None:
        """What each held at first; the dead are forgotten."""
        self._first = {pid: self._first.get(pid) or _private(pid) for pid in ready}

    def _holders(self, ready: Sequence[int]) -> Iterable[Holder]:
        return (Holder(pid, _private(pid), self._first[pid]) for pid in ready)


def _private(pid: int) -> int:
    usage = usage_of(pid)
    return usage.private_bytes if usage else 0
