"""A dataplane that serves, and requests to it without HTTP."""

from collections.abc import Sequence

from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.knobs import Admission, Batching
from service.lane import Inference, Observer
from service.tensors import Tensors, TensorSpec

ANY = Admission()


def serving(catalogue: Catalogue, observer: Observer, max_rows: int = 32, bounds: Admission = ANY) -> Dataplane:
    """The catalogue's generation is committed."""
    dataplane = Dataplane(Batching(max_rows=max_rows), bounds, observer, lambda: catalogue.generation)
    dataplane.stage(catalogue)
    return dataplane


async def infer(dataplane: Dataplane, model: str, tensors: Tensors, outputs: Sequence[TensorSpec]) -> Inference:
    with dataplane.enter(model) as lane:
        return await lane.infer(tensors, outputs)
