"""What the service does, without HTTP: resolve a model, run it, account for it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Final, Protocol

import structlog

from service.caller import NOBODY, Caller
from service.deadline import NEVER, Deadline
from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.engine.runs import Runs
from service.errors import ModelNotReady
from service.knobs import Admission, Batching
from service.scheduling import admission
from service.scheduling.batcher import Batcher
from service.scheduling.queue import Batch
from service.tensors import Array, Tensors, TensorSpec

log = structlog.get_logger()

# A run that takes this long has no place on the event loop, whatever was measured before. Time on the clock may be the
# machine's doing, so the next few runs are looked at more closely, by the CPU time that they use.
_DEMOTE_SECONDS: Final = 1e-3
_SUSPECT_RUNS: Final = 8
_NEVER_INLINE: Final = -1
_MOST_URGENT: Final = 1


@dataclass(frozen=True, slots=True)
class Inference:
    """What came out, parallel to the outputs asked for, and what it took. Times are seconds."""

    outputs: list[Array]
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
    """What one request asks of a model."""

    tensors: Tensors
    outputs: tuple[str, ...]
    rows: int


class Lane:
    """One model's way to be run: on the event loop where that is cheaper than a thread, else batched in its threads.

    A request holds it with `with`, from the moment when it is admitted. A reload that takes the model away lets the
    lane go when the last of them has ended.
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
        self._batcher: Batcher[_Call, list[Array]] = Batcher(
            self._run_batch,
            self._executor,
            max_rows=model.batch_limit(batching.max_rows),
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
        if self._inline_rows == _NEVER_INLINE and not self.model.declaration.fallback:
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
        if self._runs.is_stuck(self.model.name, self.model.version):
            raise ModelNotReady(self.model.name, "a run of it does not end, and its worker is being replaced")
        level = self._level(priority)
        admission.check(self._bounds, self.model.name, self._batcher.load(level), rows, deadline)
        call = _Call(tensors, names, rows)
        key = (names, self.model.batch_key(tensors))
        with self._pending():
            done = await self._batcher.submit(call, rows, key, deadline, level, caller)
        return Inference(done.result, rows, done.queue, done.run)

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

    def _level(self, priority: int) -> int:
        """As Triton's: 1 is the most urgent; 0 says nothing, and is in the middle."""
        levels = self._bounds.priority_levels
        return min(priority, levels) if priority and levels else levels // 2 + 1

    def _run_batch(self, calls: list[_Call], batch: Batch[_Call, list[Array]]) -> list[list[Array]]:
        rows = [call.rows for call in calls]
        with self._runs.enter(self.model.name, self.model.version) as run:
            batch.when_abandoned(run.stop)
            return self.model.run_together([call.tensors for call in calls], rows, calls[0].outputs, run)

    @contextmanager
    def _pending(self) -> Iterator[None]:
        self._observer.pending(self.model.name, 1)
        try:
            yield
        finally:
            self._observer.pending(self.model.name, -1)


class Dataplane:
    """The catalogue of the committed generation, those that are staged beside it, and each served model's lane.

    `committed` says which generation is to be served, and is asked for every request: so all workers change over at the
    same moment, and whoever has seen a generation never sees an older one. `on_switch` hears of each change.
    """

    def __init__(
        self,
        batching: Batching,
        bounds: Admission,
        observer: Observer,
        committed: Callable[[], int],
        on_switch: Callable[[Catalogue], None] = lambda catalogue: None,
    ) -> None:
        self.runs = Runs()
        self._batching = batching
        self._bounds = bounds
        self._observer = observer
        self._committed = committed
        self._on_switch = on_switch
        self._catalogue = Catalogue(0, ())
        self._staged: dict[int, Catalogue] = {}
        self.waiting = 0
        self._lanes: dict[Model, Lane] = {}
        self._garbage: list[Model] = []

    @property
    def catalogue(self) -> Catalogue:
        """What is served at this moment."""
        if self._committed() != self._catalogue.generation:
            self._switch()
        return self._catalogue

    @property
    def last_served(self) -> Catalogue:
        """The same without changing over, which only the event loop may do: for other threads."""
        return self._catalogue

    @property
    def staged(self) -> frozenset[int]:
        """The generations that could be served at once, the one that is served among them."""
        return frozenset((*self._staged, self._catalogue.generation))

    def stage(self, catalogue: Catalogue) -> None:
        """Have it ready for the moment when it is committed."""
        self._staged[catalogue.generation] = catalogue

    def unstage(self, generation: int) -> None:
        """It will not be committed."""
        catalogue = self._staged.pop(generation)
        self._garbage += [model for model in catalogue.models if model not in self._lanes]

    def take_garbage(self) -> list[Model]:
        """Models that are not served any more. To free a large one takes long: whoever drops the list does it."""
        garbage, self._garbage = self._garbage, []
        return garbage

    def pending(self, model: str, change: int) -> None:
        """A lane's report; `waiting` is how many requests wait or run outside the event loop."""
        self.waiting += change
        self._observer.pending(model, change)

    def batch(self, model: str, version: int, rows: int, seconds: float) -> None:
        """A lane's report."""
        self._observer.batch(model, version, rows, seconds)

    def resolve(self, name: str, version: str | None = None) -> Model:
        """Raises ModelNotFound, VersionNotFound, ModelNotReady."""
        return self.catalogue.resolve(name, version)

    def enter(self, name: str, version: str | None = None) -> Lane:
        """Admit a request: whatever is committed meanwhile, it ends where it began. Raises what `resolve` raises."""
        model = self.resolve(name, version)  # first: this is where a new generation comes in, with new lanes
        return self._lanes[model]

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()

    def _switch(self) -> None:
        """A worker is not ready before it has staged what is committed, and nothing is committed before all have."""
        catalogue = self._staged.pop(self._committed(), None)
        if catalogue is None:
            return
        before, self._catalogue = self._lanes, catalogue
        self._lanes = {
            model: before.pop(model) if model in before else self._make_lane(model) for model in catalogue.models
        }
        self._on_switch(catalogue)
        for lane in before.values():
            lane.retire()

    def _make_lane(self, model: Model) -> Lane:
        return Lane(model, self._batching, self._bounds, self, self.runs, self._lane_ended)

    def _lane_ended(self, lane: Lane) -> None:
        self._garbage.append(lane.model)
