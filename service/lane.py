"""One model's way to be run: who may come, who runs with whom, and where."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Any, Final, Protocol

import structlog

from service.caller import NOBODY, Caller
from service.deadline import NEVER, Deadline
from service.engine.model import Model
from service.engine.runs import Runs
from service.errors import ModelNotReady
from service.knobs import Admission, Batching
from service.scheduling import admission
from service.scheduling.batcher import Batcher
from service.scheduling.queue import Batch, Done
from service.tensors import Array, Tensors, TensorSpec

log = structlog.get_logger()

# A run that takes this long has no place on the event loop, whatever was measured before. Time on the clock may be the
# machine's doing, so the next few runs are looked at more closely, by the CPU time that they use.
_DEMOTE_SECONDS: Final = 1e-3
_SUSPECT_RUNS: Final = 8
_NEVER_INLINE: Final = -1
_MOST_URGENT: Final = 1
# What all requests with instances have in common: the transform makes a batch of whatever they are.
_PREDICT: Final = "predict"


@dataclass(frozen=True, slots=True)
class Inference:
    """What came out, parallel to the outputs asked for, and what it took. Times are seconds."""

    outputs: list[Array]
    rows: int
    queue: float
    run: float


@dataclass(frozen=True, slots=True)
class Predicted:
    """One prediction for each instance, and what they took. Times are seconds."""

    predictions: list[Any]
    rows: int
    queue: float
    run: float


class Observer(Protocol):
    """Hears what happens to a model's requests."""

    def pending(self, model: str, change: int) -> None:
        """A request waits or runs from now on (+1), or no longer (-1)."""

    def batch(self, model: str, version: int, rows: int, seconds: float) -> None:
        """So many rows have run together, in so many seconds."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What one request asks of a model: `outputs` for tensors, or, where they are None, predictions for instances."""

    given: Any
    outputs: tuple[str, ...] | None
    rows: int


class Lane:
    """One model's way to be run: on the event loop where that is cheaper than a thread, else batched in its threads.

    A request holds it with `with`, from the moment when it is admitted. A reload that takes the model away lets the
    lane go when the last of them has ended. `group_rows` are as many rows as fill a run and may come in one request.
    """

    def __init__(
        self,
        model: Model,
        batching: Batching,
        bounds: Admission,
        observer: Observer,
        runs: Runs,
        on_end: Callable[["Lane"], object],
    ) -> None:
        self.model = model
        most = model.batch_limit(batching.max_rows)
        self.group_rows = min(most, model.declaration.limits.max_rows or most)
        self._bounds = bounds
        self._runs = runs
        self._observer = observer
        self._on_end = on_end
        self._users = 0
        self._is_retired = False
        self._inline_rows = model.findings.inline_rows or _NEVER_INLINE
        self._suspect = 0
        threads = model.declaration.run_threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"run-{model.name}-{model.version}")
        self._batcher: Batcher[_Call, list[Any]] = Batcher(
            self._run_batch,
            self._executor,
            max_rows=most,
            concurrency=threads,
            linger=batching.linger_ms / 1000,
            pace=model.findings.row_seconds,
            patience=bounds.max_wait_ms / 1000,
            give_up=lambda: admission.overtaken(bounds, model.name),
            on_batch=lambda rows, seconds: observer.batch(model.name, model.version, rows, seconds),
        )

    def __enter__(self) -> "Lane":
        self._users += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self._users -= 1
        if self._is_retired and not self._users:
            self.close()

    def admit(self, deadline: Deadline = NEVER, wait: float = 0.0) -> None:
        """May another request come? Raises Overloaded, before there has been any work for it.

        `wait` is how many seconds it will be until then. What this model's run may have to wait comes on top, unless a
        smaller model can take its place.
        """
        load = admission.Load()
        queues = self._inline_rows == _NEVER_INLINE or self.model.transform is not None
        if queues and not self.model.declaration.fallback:
            load = self._batcher.load(_MOST_URGENT)  # what it will say of itself is in its body
            admission.check(self._bounds, self.model.name, load, 1, deadline)
        if wait:
            admission.check_wait(self._bounds, self.model.name, load.wait + wait, deadline, load.pace)

    async def infer(
        self,
        tensors: Tensors,
        outputs: Sequence[TensorSpec],
        deadline: Deadline = NEVER,
        priority: int = 0,
        caller: Caller = NOBODY,
    ) -> Inference:
        """Raises SignatureMismatch, Overloaded or ModelNotReady before anything is run, InferenceFailed from a run.

        Whenever it is time for that: DeadlineExceeded, ClientLeft.
        """
        rows = self.model.check(tensors)
        names = tuple([spec.name for spec in outputs])
        if rows <= self._inline_rows:
            return self._run_inline(tensors, names, rows)
        key = (names, self.model.batch_key(tensors))
        done = await self._batched(_Call(tensors, names, rows), key, deadline, priority, caller)
        return Inference(done.result, rows, done.queue, done.run)

    async def predict(
        self, instances: Sequence[Any], deadline: Deadline = NEVER, priority: int = 0, caller: Caller = NOBODY
    ) -> Predicted:
        """By the model's transform, which has parsed the instances, in its run thread.

        Raises what `infer` raises, and from the transform MalformedRequest and TransformFailed.
        """
        self.model.check_rows(len(instances))
        if not instances:
            return Predicted([], 0, 0.0, 0.0)
        done = await self._batched(_Call(instances, None, len(instances)), _PREDICT, deadline, priority, caller)
        return Predicted(done.result, len(instances), done.queue, done.run)

    def retire(self) -> None:
        """Nobody new will come."""
        self._is_retired = True
        if not self._users:
            self.close()

    def close(self) -> None:
        """Let what runs end; what waits is dropped. The model's memory is free when nobody else holds it."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        # It holds our own method: a cycle, which would keep the model until the collector comes by.
        self.__dict__.pop("_batcher", None)
        self._on_end(self)

    def _run_inline(self, tensors: Tensors, names: tuple[str, ...], rows: int) -> Inference:
        started = perf_counter()
        cpu_started = thread_time() if self._suspect else 0.0
        result = self.model.run(tensors, names)
        seconds = perf_counter() - started
        if self._suspect:
            self._suspect -= 1
            if thread_time() - cpu_started > _DEMOTE_SECONDS:
                self._inline_rows = _NEVER_INLINE
                log.warning("inline_off", model=self.model.name, version=self.model.version, seconds=seconds)
        elif seconds > _DEMOTE_SECONDS and self.model.declaration.inline is None:
            self._suspect = _SUSPECT_RUNS
        self._observer.batch(self.model.name, self.model.version, rows, seconds)
        return Inference(result, rows, 0.0, seconds)

    async def _batched(
        self, call: _Call, key: Hashable, deadline: Deadline, priority: int, caller: Caller
    ) -> Done[list[Any]]:
        if self._runs.is_stuck(self.model.name, self.model.version):
            raise ModelNotReady(self.model.name, "a run of it does not end, and its worker is being replaced")
        level = self._level(priority)
        admission.check(self._bounds, self.model.name, self._batcher.load(level), call.rows, deadline)
        with self._pending():
            return await self._batcher.submit(call, call.rows, key, deadline, level, caller)

    def _level(self, priority: int) -> int:
        """As Triton's: 1 is the most urgent; 0 says nothing, and is in the middle."""
        levels = self._bounds.priority_levels
        return min(priority, levels) if priority and levels else levels // 2 + 1

    def _run_batch(self, calls: list[_Call], batch: Batch[_Call, list[Any]]) -> list[list[Any]]:
        given, rows, outputs = [call.given for call in calls], [call.rows for call in calls], calls[0].outputs
        with self._runs.enter(self.model.name, self.model.version) as run:
            batch.when_abandoned(run.stop)
            if outputs is None:
                return self.model.predict_together(given, run)
            return self.model.run_together(given, rows, outputs, run)

    @contextmanager
    def _pending(self) -> Iterator[None]:
        self._observer.pending(self.model.name, 1)
        try:
            yield
        finally:
            self._observer.pending(self.model.name, -1)
