"""Requests that wait together run together.

There is no timer. While a batch runs the next one fills: an idle service answers at once, a busy one batches by itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from time import perf_counter
from typing import Final, Generic, TypeVar

from service.errors import InferenceFailed

Request = TypeVar("Request")
Result = TypeVar("Result")

# How many entries of other kinds a batch looks past for company; a long queue must not cost the event loop.
_LOOK_AHEAD: Final = 256


class Done(Generic[Result]):
    """A result, and the seconds that its entry waited and ran."""

    __slots__ = ("queue", "result", "run")

    def __init__(self, result: Result, queue: float, run: float) -> None:
        self.result = result
        self.queue = queue
        self.run = run


class Entry(Generic[Request, Result]):
    """One request that waits. Only entries with equal keys may share a batch."""

    __slots__ = ("asked", "future", "key", "request", "rows")

    def __init__(self, request: Request, rows: int, key: Hashable, future: "asyncio.Future[Done[Result]]") -> None:
        self.request = request
        self.rows = rows
        self.key = key
        self.future = future
        self.asked = perf_counter()


def take_batch(waiting: "deque[Entry[Request, Result]]", max_rows: int) -> "list[Entry[Request, Result]]":
    """Remove from `waiting` what runs next: the oldest entry, and in their order those that fit beside it.

    The oldest always goes, so nothing starves; larger than `max_rows`, it goes alone. Entries whose caller has left are
    dropped.
    """
    batch: list[Entry[Request, Result]] = []
    kept: list[Entry[Request, Result]] = []
    rows = 0
    while waiting and rows < max_rows and len(kept) < _LOOK_AHEAD:
        entry = waiting.popleft()
        if entry.future.done():
            continue
        if batch and (entry.key != batch[0].key or rows + entry.rows > max_rows):
            kept.append(entry)
            continue
        batch.append(entry)
        rows += entry.rows
    waiting.extendleft(reversed(kept))
    return batch


class Batcher(Generic[Request, Result]):
    """Runs requests through `run`, in `executor`, several batches at a time at most.

    `run` takes the requests of one batch and returns their results in the same order. It fails as a whole: then its
    requests are run again one by one, once, so that only the one at fault fails; not where it took too long.
    `on_batch` hears each run's rows.
    """

    def __init__(
        self,
        run: Callable[[list[Request]], list[Result]],
        executor: Executor,
        *,
        max_rows: int,
        concurrency: int = 1,
        linger: float = 0.0,
        on_batch: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """`linger` is how many seconds an entry may wait for company when nothing else runs."""
        self._run = run
        self._executor = executor
        self._max_rows = max_rows
        self._concurrency = concurrency
        self._free = concurrency
        self._linger = linger
        self._on_batch = on_batch
        self._waiting: deque[Entry[Request, Result]] = deque()
        self._timer: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, request: Request, rows: int, key: Hashable) -> Done[Result]:
        """Wait, run, and return. A caller that is cancelled while it waits is never run."""
        loop = asyncio.get_running_loop()
        entry: Entry[Request, Result] = Entry(request, rows, key, loop.create_future())
        self._waiting.append(entry)
        self._wake(self._linger)
        return await entry.future

    def _wake(self, delay: float = 0.0) -> None:
        """Start what can be started, at the end of this turn of the loop: what arrived in it goes together.

        Only where nothing runs, a batch that is not full lingers for company.
        """
        if not self._free:
            return
        if self._free < self._concurrency or sum(entry.rows for entry in self._waiting) >= self._max_rows:
            delay = 0.0
        if self._timer:
            if delay:
                return
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay, self._start) if delay else loop.call_soon(self._start)

    def _start(self) -> None:
        self._timer = None
        while self._free and (batch := take_batch(self._waiting, self._max_rows)):
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._serve(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, batch: list[Entry[Request, Result]]) -> None:
        """Run a batch and tell its callers. A failed batch of several is taken apart."""
        try:
            failure = await self._attempt(batch)
            if failure is None:
                return
            if len(batch) == 1 or not _may_repeat(failure):
                for entry in batch:
                    _fail(entry, failure)
                return
            for entry in batch:
                if not entry.future.done() and (failure := await self._attempt([entry])):
                    _fail(entry, failure)
        finally:
            self._free += 1
            self._wake()

    async def _attempt(self, batch: list[Entry[Request, Result]]) -> Exception | None:
        """One run. Its results go to the callers; what it raises is returned."""
        requests = [entry.request for entry in batch]

        def timed() -> tuple[list[Result], float, float]:
            started = perf_counter()
            return self._run(requests), started, perf_counter()

        try:
            self._on_batch(sum(entry.rows for entry in batch))
            results, started, ended = await asyncio.get_running_loop().run_in_executor(self._executor, timed)
            pairs = list(zip(batch, results, strict=True))
        except Exception as failure:
            return failure
        for entry, result in pairs:
            if not entry.future.done():
                entry.future.set_result(Done(result, started - entry.asked, ended - started))
        return None


def _may_repeat(failure: Exception) -> bool:
    return not (isinstance(failure, InferenceFailed) and failure.terminated)


def _fail(entry: Entry[Request, Result], failure: Exception) -> None:
    if not entry.future.done():
        entry.future.set_exception(failure)
