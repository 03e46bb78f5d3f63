"""What waits for a model, in the order in which it will run."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from itertools import takewhile
from math import inf
from time import monotonic, perf_counter
from typing import Final, Generic, TypeVar

from service.caller import ClientLeft
from service.deadline import NEVER, Deadline

Request = TypeVar("Request")
Result = TypeVar("Result")

# How many entries of other kinds a batch looks past for company; a long queue must not cost the event loop.
_LOOK_AHEAD: Final = 256
# How many places of entries that have ended are kept besides as many as still wait; to drop one at a time costs more.
_KEPT_PLACES: Final = 256


class Done(Generic[Result]):
    """A result, and the seconds that its entry waited and ran."""

    __slots__ = ("queue", "result", "run")

    def __init__(self, result: Result, queue: float, run: float) -> None:
        self.result = result
        self.queue = queue
        self.run = run


class Entry(Generic[Request, Result]):
    """One request that waits, and then runs. Only entries with equal keys may share a batch.

    Its future ends it, however it ends: with a result or a failure, by `expire` or `leave`, or cancelled by whoever
    waits for it. One that has ended is never run, and no batch mate of it is harmed.
    """

    __slots__ = ("asked", "batch", "deadline", "future", "is_waiting", "key", "priority", "request", "rows", "stage")

    def __init__(
        self,
        request: Request,
        rows: int,
        key: Hashable,
        future: "asyncio.Future[Done[Result]]",
        deadline: Deadline = NEVER,
        priority: int = 0,
    ) -> None:
        self.request = request
        self.rows = rows
        self.key = key
        self.future = future
        self.deadline = deadline
        self.priority = priority
        self.asked = perf_counter()
        self.is_waiting = True
        self.stage = "queue"
        self.batch: Batch[Request, Result] | None = None

    def expire(self) -> None:
        """The deadline has passed."""
        self.fail(self.deadline.exceeded(self.stage))

    def leave(self) -> None:
        """The caller has left."""
        self.fail(ClientLeft(self.stage))

    def fail(self, reason: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(reason)


class Batch(Generic[Request, Result]):
    """Entries that run together, and how their run hears that nobody waits for it any more."""

    def __init__(self, entries: list[Entry[Request, Result]]) -> None:
        self.entries = entries
        self.rows = sum(entry.rows for entry in entries)
        self.began = perf_counter()
        self.is_abandoned = False
        self._abandon: Callable[[], object] | None = None
        for entry in entries:
            entry.batch = self
            entry.stage = "run"  # for good, also where it runs again later: nobody may be told that it was never run

    def when_abandoned(self, act: Callable[[], object]) -> None:
        """Called in the run's thread, where `act` is what ends the run."""
        self._abandon = act
        if self.is_abandoned:
            act()

    def look(self) -> None:
        """One of its callers has gone."""
        if not self.is_abandoned and all(entry.future.done() for entry in self.entries):
            self.is_abandoned = True
            if self._abandon:
                self._abandon()

    def disband(self) -> None:
        """It has run. Entries and batch know one another, a cycle that only the garbage collector would free."""
        for entry in self.entries:
            entry.batch = None
        self.entries = []


class Queue(Generic[Request, Result]):
    """Entries by priority, the lowest number first, and then in the order in which they came.

    `len` and `rows` are those that still wait: an entry that has ended counts no more, though its place may be kept
    for a while, without what it carried.
    """

    def __init__(self, patience: float = inf, give_up: Callable[[], Exception] = TimeoutError) -> None:
        """Whoever is overtaken after more than `patience` seconds ends by what `give_up` makes."""
        self._patience = patience
        self._give_up = give_up
        self._waiting: deque[Entry[Request, Result]] = deque()
        self._count = 0
        self.rows = 0

    def __len__(self) -> int:
        return self._count

    def put(self, entry: Entry[Request, Result]) -> None:
        """Behind everything that is not less urgent."""
        overtaken = list(takewhile(lambda other: other.priority > entry.priority, reversed(self._waiting)))
        self._waiting.insert(len(self._waiting) - len(overtaken), entry)
        self._count += 1
        self.rows += entry.rows
        for other in overtaken:
            if other.is_waiting and entry.asked - other.asked > self._patience:
                other.fail(self._give_up())

    def take(self, max_rows: int) -> list[Entry[Request, Result]]:
        """What runs next; see `take_batch`."""
        batch = take_batch(self._waiting, max_rows, monotonic())
        for entry in batch:
            self._count_out(entry)
        return batch

    def forget(self, entry: Entry[Request, Result]) -> None:
        """It has ended. If it still waited, what it carried is free; nothing happens the second time."""
        if not entry.is_waiting:
            return
        self._count_out(entry)
        del entry.request, entry.future  # whose exception knows the frames that know the request
        if len(self._waiting) > 2 * self._count + _KEPT_PLACES:
            self._waiting = deque(other for other in self._waiting if other.is_waiting)

    def ahead_of(self, priority: int) -> tuple[int, int]:
        """Entries and rows that would run before one of this priority that came now."""
        if not self._waiting or self._waiting[-1].priority <= priority:
            return self._count, self.rows
        ahead = [entry for entry in self._waiting if entry.is_waiting and entry.priority <= priority]
        return len(ahead), sum(entry.rows for entry in ahead)

    def _count_out(self, entry: Entry[Request, Result]) -> None:
        entry.is_waiting = False
        self._count -= 1
        self.rows -= entry.rows


def take_batch(
    waiting: deque[Entry[Request, Result]], max_rows: int, now: float = float("-inf")
) -> list[Entry[Request, Result]]:
    """Remove from `waiting` what runs next: the first entry, and in their order those that fit beside it.

    The first always goes, so nothing starves behind its equals; larger than `max_rows`, it goes alone. Entries that
    have ended are dropped, and those end whose deadline is not after `now`.
    """
    batch: list[Entry[Request, Result]] = []
    kept: list[Entry[Request, Result]] = []
    rows = 0
    while waiting and rows < max_rows and len(kept) < _LOOK_AHEAD:
        entry = waiting.popleft()
        if not entry.is_waiting:
            continue
        if entry.deadline.at <= now:
            entry.expire()
        if entry.future.done():
            continue
        if batch and (entry.key != batch[0].key or rows + entry.rows > max_rows):
            kept.append(entry)
            continue
        batch.append(entry)
        rows += entry.rows
    waiting.extendleft(reversed(kept))
    return batch
