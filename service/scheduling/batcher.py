"""Requests that wait together run together.

There is no timer. While a batch runs the next one fills: an idle service answers at once, a busy one batches by itself.
"""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from math import inf
from time import perf_counter
from typing import Generic

from service.caller import NOBODY, Caller
from service.deadline import NEVER, Deadline
from service.errors import InferenceFailed, InternalError, Interrupted, TransformFailed
from service.scheduling.admission import Load, Pace
from service.scheduling.queue import Batch, Done, Entry, Queue, Request, Result


class Batcher(Generic[Request, Result]):
    """Runs requests through `run`, in `executor`, several batches at a time at most.

    `run` takes the requests of one batch and returns their results in the same order. It fails as a whole: then its
    requests are run again one by one, once, so that only the one at fault fails; not where it took too long. It may
    ask its second argument, the batch, to be told when nobody waits for it any more. `on_batch` hears the rows and the
    seconds of each run that has succeeded.
    """

    def __init__(
        self,
        run: Callable[[list[Request], Batch[Request, Result]], list[Result]],
        executor: Executor,
        *,
        max_rows: int,
        concurrency: int = 1,
        linger: float = 0.0,
        pace: float = 0.0,
        patience: float = inf,
        give_up: Callable[[], Exception] = TimeoutError,
        on_batch: Callable[[int, float], None] = lambda rows, seconds: None,
    ) -> None:
        """`linger` is how many seconds an entry may wait for company when nothing else runs: half its time at most.

        `pace` is how many seconds a row takes where nothing has been seen yet. Whoever is overtaken by more urgent ones
        after more than `patience` seconds ends by what `give_up` makes.
        """
        self._run = run
        self._executor = executor
        self._max_rows = max_rows
        self._concurrency = concurrency
        self._linger = linger
        self._pace = Pace(pace)
        self._on_batch = on_batch
        self._queue: Queue[Request, Result] = Queue(patience, give_up)
        self._running: set[Batch[Request, Result]] = set()
        self._again: set[Entry[Request, Result]] = set()
        self._free = concurrency
        self._timer: asyncio.Handle | None = None
        self._starts_at = -inf
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self, priority: int = 0) -> Load:
        """What a request of this priority would find, came it now."""
        if self._queue.rows < self._free * self._max_rows:
            return Load()
        requests, rows = self._queue.ahead_of(priority)
        now = perf_counter()
        running = [(batch.rows, now - batch.began) for batch in self._running]
        again = [entry.rows for entry in self._again if not entry.future.done()]
        wait = self._pace.wait(rows, self._max_rows, running, again)
        return Load(True, requests, rows, wait / self._concurrency, self._pace.seconds)

    async def submit(
        self,
        request: Request,
        rows: int,
        key: Hashable,
        deadline: Deadline = NEVER,
        priority: int = 0,
        caller: Caller = NOBODY,
    ) -> Done[Result]:
        """Wait, run, and return. Raises DeadlineExceeded at the deadline, ClientLeft when the caller leaves.

        Whoever has gone before the run is never run; if all of a batch have, its run is told.
        """
        loop = asyncio.get_running_loop()
        entry: Entry[Request, Result] = Entry(request, rows, key, loop.create_future(), deadline, priority)
        self._queue.put(entry)
        self._wake(self._linger and max(0.0, min(self._linger, deadline.remaining / 2)))
        alarm = loop.call_at(deadline.at, entry.expire) if deadline is not NEVER else None
        try:
            with caller.watched(entry.leave):
                return await entry.future
        finally:
            if alarm:
                alarm.cancel()
            self._queue.forget(entry)
            if entry.batch:
                entry.batch.look()
            # Its future knows the exception, which knows this frame: a cycle that would keep the request's tensors.
            del entry

    def _wake(self, delay: float = 0.0) -> None:
        """Start what can be started, at the end of this turn of the loop: what arrived in it goes together.

        Only where nothing runs, a batch that is not full lingers for company.
        """
        if not self._free:
            return
        if self._free < self._concurrency or self._queue.rows >= self._max_rows:
            delay = 0.0
        loop = asyncio.get_running_loop()
        starts_at = loop.time() + delay if delay else -inf
        if self._timer:
            if delay and self._starts_at <= starts_at:
                return
            self._timer.cancel()
        self._starts_at = starts_at
        self._timer = loop.call_at(starts_at, self._start) if delay else loop.call_soon(self._start)

    def _start(self) -> None:
        self._timer = None
        while self._free and (entries := self._queue.take(self._max_rows)):
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._serve(entries, is_full=bool(self._queue)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, entries: list[Entry[Request, Result]], *, is_full: bool) -> None:
        """Run a batch and tell its callers. A failed batch of several is taken apart.

        `is_full` says that nothing of what waited could have come along.
        """
        entries = [entry for entry in entries if not entry.future.done()]  # some may have gone since they were taken
        try:
            failure = await self._attempt(entries, is_full) if entries else None
            if failure is None:
                return
            if len(entries) == 1 or not _may_repeat(failure):
                for entry in entries:
                    entry.fail(failure)
                return
            await self._run_apart(entries)
        finally:
            unheard = InternalError()
            for entry in entries:
                entry.fail(unheard)  # whatever has happened: nobody waits for what is over
            self._free += 1
            self._wake()

    async def _run_apart(self, entries: list[Entry[Request, Result]]) -> None:
        """One by one: those whose turn is still to come are what newcomers have to wait for."""
        self._again.update(entries)
        try:
            for entry in entries:
                self._again.discard(entry)
                if not entry.future.done() and (failure := await self._attempt([entry], is_full=False)):
                    entry.fail(failure)
        finally:
            self._again.difference_update(entries)

    async def _attempt(self, entries: list[Entry[Request, Result]], is_full: bool) -> Exception | None:
        """One run. Its results go to the callers; what it raises is returned."""
        requests = [entry.request for entry in entries]
        batch = Batch(entries)

        def timed() -> tuple[list[Result], float, float]:
            started = perf_counter()
            try:
                return self._run(requests, batch), started, perf_counter()
            except Exception:
                raise
            # Such as the panic of an extension in Rust: on the loop it would end the task, and not the requests.
            except BaseException as error:
                raise InternalError from error

        self._running.add(batch)
        try:
            results, started, ended = await asyncio.get_running_loop().run_in_executor(self._executor, timed)
            pairs = list(zip(entries, results, strict=True))
            self._on_batch(batch.rows, ended - started)
        except asyncio.CancelledError:
            return Interrupted()  # the executor was shut down before the run began
        except Exception as failure:
            # Without this frame: it knows the entries, whose futures will know the failure.
            return failure.with_traceback(failure.__traceback__ and failure.__traceback__.tb_next)
        finally:
            self._running.discard(batch)
            batch.disband()
        seconds = perf_counter() - batch.began
        self._pace.note(batch.rows, seconds, is_full or batch.rows >= self._max_rows)
        if len(entries) == 1:
            self._pace.note_alone(seconds)
        for entry, result in pairs:
            if not entry.future.done():
                entry.future.set_result(Done(result, started - entry.asked, ended - started))
        return None


def _may_repeat(failure: Exception) -> bool:
    if isinstance(failure, InferenceFailed | TransformFailed):
        return not failure.terminated
    return not isinstance(failure, Interrupted)
