"""What a stream asks of a model, row by row or line by line: run in groups, answered one by one."""

import asyncio
from collections.abc import AsyncGenerator, Hashable, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from operator import attrgetter
from time import monotonic, perf_counter
from typing import Any, Final, NamedTuple, Protocol

import structlog

from service.deadline import NEVER, Deadline
from service.errors import (
    AnswerTooLarge,
    CallerError,
    DeadlineExceeded,
    InferenceFailed,
    Interrupted,
    ModelNotReady,
    OnnicornError,
    Overloaded,
    TransformFailed,
)
from service.lane import Lane
from service.telemetry import metrics
from service.telemetry.record import Record
from service.web.stream import Window, patiently
from service.web.timeouts import sooner

log = structlog.get_logger()

# The same for all of a group, however small it is.
_OF_ALL: Final = (Overloaded, DeadlineExceeded, ModelNotReady, Interrupted)
_OK: Final = "ok"


class Item(NamedTuple):
    """One thing asked for, as its form has read it; `weight` is in bytes of memory, `timeout` in seconds.

    Only items of equal keys may run together.
    """

    asked: Any
    rows: int
    key: Hashable
    weight: int = 0
    timeout: float = inf
    priority: int = 0


class Job(NamedTuple):
    """An item, and its number in the stream."""

    number: int
    item: Item


class Ran(NamedTuple):
    """What came of a group, parallel to its items, and what it took, in seconds; `size` of it is in bytes of memory."""

    results: Sequence[Any]
    queue: float
    run: float
    size: int = 0


class Form(Protocol):
    """How things are asked for at one door, and answered."""

    def read(self, text: bytes) -> Item:
        """In any thread. Raises OnnicornError."""

    def read_all(self, texts: Sequence[bytes]) -> list[Item | OnnicornError]:
        """Each of them, or why it cannot be read."""

    async def run(self, items: Sequence[Item], deadline: Deadline) -> Ran:
        """Items of one key. Raises what a lane raises, and ValueError where nobody can tell whose answer is what."""

    def is_long(self, result: Any) -> bool:
        """Would to write it hold the event loop for long?"""

    def write(self, item: Item, result: Any) -> bytes:
        """As JSON without a line break, in any thread. Raises AnswerTooLarge."""


class Tally:
    """Of a group that has run, in so many seconds: it counts once for each outcome that its answers have."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.outcomes: set[str] = set()


class Scored(NamedTuple):
    """What came of the job of a number: what the model gave for its item, with its group, or why there is nothing."""

    number: int
    item: Item | None = None
    result: Any = None
    group: Tally | None = None
    failure: OnnicornError | None = None


class Scoring:
    """Of one stream. Each group counts as a request of the model; the record sums them up."""

    def __init__(self, lane: Lane, form: Form, record: Record, window: Window) -> None:
        self._window = window
        self._form = form
        self._record = record
        self._labels = lane.model.name, lane.model.version
        self._has_told = False

    async def score(self, asked: Mapping[int, Item | OnnicornError], deadline: Deadline = NEVER) -> list[Scored]:
        """In the order of their numbers; what could not be read has failed already.

        An overloaded model is waited for, until the deadline or the item's own.
        """
        began = monotonic()
        unread = {number: item for number, item in asked.items() if isinstance(item, OnnicornError)}
        scored = self._fail(unread, 0.0)
        jobs = [Job(number, item) for number, item in asked.items() if isinstance(item, Item)]
        for group in grouped(jobs, self._window.rows):
            until = sooner(group[0].item.timeout, deadline, lambda: began)
            scored += await self._run(group, until)
        return sorted(scored, key=attrgetter("number"))

    async def texts(self, scored: Iterable[Scored]) -> AsyncGenerator[tuple[Scored, bytes], None]:
        """Each answer as it is written, when it is asked for; a failure has no text."""
        seconds = 0.0
        for each in scored:
            if each.item is None or each.group is None:
                yield each, b""
                continue
            started = perf_counter()
            write = partial(self._form.write, each.item, each.result)
            try:
                text = await asyncio.to_thread(write) if self._form.is_long(each.result) else write()
            except AnswerTooLarge as error:
                self._count(error.code, each.group)
                yield self._failed(each.number, error), b""
            else:
                seconds += perf_counter() - started
                self._count(_OK, each.group)
                yield each, text
        self._record.encode = (self._record.encode or 0.0) + seconds
        metrics.stages(*self._labels)[3].observe(seconds)

    def note_decoding(self, seconds: float) -> None:
        """So long it took to read a portion."""
        self._record.decode = (self._record.decode or 0.0) + seconds
        metrics.stages(*self._labels)[0].observe(seconds)

    def _fail(self, errors: Mapping[int, OnnicornError], seconds: float) -> list[Scored]:
        """Nothing came of the jobs of a group, by their numbers. `seconds` is what it took."""
        group = Tally(seconds)
        for error in errors.values():
            self._count(error.code, group)
        return [self._failed(number, error) for number, error in errors.items()]

    def _count(self, outcome: str, group: Tally) -> None:
        if outcome in group.outcomes:
            return
        group.outcomes.add(outcome)
        metrics.inference_requests(*self._labels, outcome).inc()
        answered, others = metrics.inference_seconds(*self._labels)
        (answered if outcome == _OK else others).inc(group.seconds)

    def _failed(self, number: int, error: OnnicornError) -> Scored:
        """The log has why the first failed that was no caller's fault."""
        self._record.failed += 1
        if not (self._has_told or isinstance(error, (CallerError, *_OF_ALL))):
            self._has_told = True
            model, version = self._labels
            log.error(
                "answer_failed",
                model=model,
                version=version,
                number=number,
                code=error.code,
                request_id=self._record.request_id,
                exc_info=error,
            )
        return Scored(number, failure=error)

    async def _run(self, group: Sequence[Job], deadline: Deadline) -> list[Scored]:
        """A group that fails is taken apart, once, so that only those at fault fail."""
        items = [job.item for job in group]
        started = perf_counter()
        try:
            async with self._window.place(deadline):
                ran = await patiently(partial(self._form.run, items, deadline), deadline)
        except (OnnicornError, ValueError) as error:
            if len(group) > 1 and _may_repeat(error):
                return [scored for job in group for scored in await self._run([job], deadline)]
            if not isinstance(error, OnnicornError):
                raise
            return self._fail({job.number: error for job in group}, perf_counter() - started)
        rows = sum(item.rows for item in items)
        self._window.note(rows, ran.size)
        self._note(rows, ran)
        tally = Tally(ran.queue + ran.run)
        return [Scored(job.number, job.item, result, tally) for job, result in zip(group, ran.results, strict=True)]

    def _note(self, rows: int, ran: Ran) -> None:
        record = self._record
        record.rows = (record.rows or 0) + rows
        record.queue, record.run = (record.queue or 0.0) + ran.queue, (record.run or 0.0) + ran.run
        _, queue, run, _ = metrics.stages(*self._labels)
        queue.observe(ran.queue)
        run.observe(ran.run)


def grouped(jobs: Iterable[Job], most: int) -> list[list[Job]]:
    """What may run together, of so many rows at most, in the order of what comes first; one may have more by itself."""
    groups: list[list[Job]] = []
    filling: dict[Hashable, tuple[list[Job], int]] = {}
    for job in jobs:
        item = job.item
        key = item.key, item.timeout, item.priority
        group, rows = filling.get(key, ([], 0))
        if not group or rows + item.rows > most:
            group, rows = [], 0
            groups.append(group)
        group.append(job)
        filling[key] = group, rows + item.rows
    return groups


def _may_repeat(error: Exception) -> bool:
    if isinstance(error, InferenceFailed | TransformFailed):
        return not error.terminated
    return not isinstance(error, _OF_ALL)
