"""What the service does, without HTTP: resolve a model, run it, account for it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Final, Protocol

import structlog

from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.engine.runs import Runs
from service.scheduling.batcher import Batcher
from service.settings import Batching
from service.tensors import Array, Tensors, TensorSpec

log = structlog.get_logger()

# A run that takes this long has no place on the event loop, whatever was measured before. Time on the clock may be the
# machine's doing, so the next few runs are looked at more closely, by the CPU time that they use.
_DEMOTE_SECONDS: Final = 1e-3
_SUSPECT_RUNS: Final = 8
_NEVER: Final = -1


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

    def batch(self, model: str, version: int, rows: int) -> None:
        """So many rows run together."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What one request asks of a model."""

    tensors: Tensors
    outputs: tuple[str, ...]
    rows: int


class _Lane:
    """One model's way to be run: on the event loop where that is cheaper than a thread, else batched in its threads."""

    def __init__(self, model: Model, batching: Batching, observer: Observer, runs: Runs) -> None:
        self._model = model
        self._runs = runs
        self._observer = observer
        self._inline_rows = model.findings.inline_rows or _NEVER
        self._suspect = 0
        threads = model.declaration.run_threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"run-{model.name}-{model.version}")
        self._batcher: Batcher[_Call, list[Array]] = Batcher(
            self._run_batch,
            self._executor,
            max_rows=model.batch_limit(batching.max_rows),
            concurrency=threads,
            linger=batching.linger_ms / 1000,
            on_batch=lambda rows: observer.batch(model.name, model.version, rows),
        )

    async def infer(self, tensors: Tensors, outputs: Sequence[TensorSpec]) -> Inference:
        rows = self._model.check(tensors)
        names = tuple([spec.name for spec in outputs])
        if rows <= self._inline_rows:
            return self._run_inline(tensors, names, rows)
        call = _Call(tensors, names, rows)
        key = (names, self._model.batch_key(tensors))
        with self._pending():
            done = await self._batcher.submit(call, rows, key)
        return Inference(done.result, rows, done.queue, done.run)

    def close(self) -> None:
        """Let what runs end; what waits is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run_inline(self, tensors: Tensors, names: tuple[str, ...], rows: int) -> Inference:
        started = perf_counter()
        cpu_started = thread_time() if self._suspect else 0.0
        result = self._model.run(tensors, names)
        seconds = perf_counter() - started
        if self._suspect:
            self._suspect -= 1
            if thread_time() - cpu_started > _DEMOTE_SECONDS:
                self._inline_rows = _NEVER
                log.warning("inline_off", model=self._model.name, version=self._model.version, seconds=seconds)
        elif seconds > _DEMOTE_SECONDS and self._model.declaration.inline is None:
            self._suspect = _SUSPECT_RUNS
        self._observer.batch(self._model.name, self._model.version, rows)
        return Inference(result, rows, 0.0, seconds)

    def _run_batch(self, calls: list[_Call]) -> list[list[Array]]:
        rows = [call.rows for call in calls]
        with self._runs.enter(self._model.name, self._model.version) as run:
            return self._model.run_together([call.tensors for call in calls], rows, calls[0].outputs, run)

    @contextmanager
    def _pending(self) -> Iterator[None]:
        self._observer.pending(self._model.name, 1)
        try:
            yield
        finally:
            self._observer.pending(self._model.name, -1)


class Dataplane:
    """The catalogue that is served now, and each model's lane."""

    def __init__(self, batching: Batching, observer: Observer) -> None:
        self.catalogue = Catalogue(0, ())
        self.runs = Runs()
        self._batching = batching
        self._observer = observer
        self._lanes: dict[Model, _Lane] = {}
        self._retired: dict[Model, _Lane] = {}

    def serve(self, catalogue: Catalogue) -> None:
        """From the next request on, this catalogue answers. Requests that were resolved in the last one end in it."""
        for lane in self._retired.values():
            lane.close()
        self._retired = self._lanes
        self._lanes = {model: _Lane(model, self._batching, self._observer, self.runs) for model in catalogue.models}
        self.catalogue = catalogue

    def close(self) -> None:
        for lane in (*self._lanes.values(), *self._retired.values()):
            lane.close()

    def resolve(self, name: str, version: str | None = None) -> Model:
        """Raises ModelNotFound, VersionNotFound, ModelNotReady."""
        return self.catalogue.resolve(name, version)

    async def infer(self, model: Model, tensors: Tensors, outputs: Sequence[TensorSpec]) -> Inference:
        """Raises SignatureMismatch before anything is run, InferenceFailed from a run."""
        lane = self._lanes.get(model) or self._retired[model]
        return await lane.infer(tensors, outputs)
