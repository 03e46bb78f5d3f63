"""What the service does, without HTTP: resolve a model, and know the way to it of each generation."""

from collections.abc import Callable

from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.engine.runs import Runs
from service.knobs import Admission, Batching
from service.lane import Lane, Observer


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
        for lane in before.values():
            lane.retire()
        self._on_switch(catalogue)  # last: should it fail, all has changed that a request is answered by

    def _make_lane(self, model: Model) -> Lane:
        return Lane(model, self._batching, self._bounds, self, self.runs, self._lane_ended)

    def _lane_ended(self, lane: Lane) -> None:
        self._garbage.append(lane.model)
