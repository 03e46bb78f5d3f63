"""What the service does, without HTTP: resolve a model, run it, account for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.scheduling.threads import RunThreads
from service.tensors import Array, Tensors, TensorSpec

# Called with a model's name and +1 or -1 as its requests come and go.
OnPending = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Inference:
    """What came out, parallel to the outputs asked for, and what it took. Times are seconds."""

    outputs: list[Array]
    rows: int
    queue: float
    run: float


class Dataplane:
    """The catalogue that is served now, and the threads that its models run in."""

    def __init__(self, on_pending: OnPending = lambda model, change: None) -> None:
        self.catalogue = Catalogue(0, ())
        self._threads: dict[Model, RunThreads] = {}
        self._on_pending = on_pending

    def serve(self, catalogue: Catalogue) -> None:
        """From the next request on, this catalogue answers."""
        self._threads = {model: RunThreads(f"{model.name}-{model.version}") for model in catalogue.models}
        self.catalogue = catalogue

    def close(self) -> None:
        for threads in self._threads.values():
            threads.close()

    def resolve(self, name: str, version: str | None = None) -> Model:
        """Raises ModelNotFound, VersionNotFound, ModelNotReady."""
        return self.catalogue.resolve(name, version)

    async def infer(self, model: Model, tensors: Tensors, outputs: Sequence[TensorSpec]) -> Inference:
        """Raises SignatureMismatch before anything is run, InferenceFailed from a run."""
        rows = model.check(tensors)
        names = [spec.name for spec in outputs]
        with self._pending(model.name):
            done = await self._threads[model].run(lambda: model.run(tensors, names))
        return Inference(done.result, rows, done.queue, done.run)

    @contextmanager
    def _pending(self, name: str) -> Iterator[None]:
        self._on_pending(name, 1)
        try:
            yield
        finally:
            self._on_pending(name, -1)
