"""The forms in which streams ask for answers: the protocol's requests, one in each line; rows of one request."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from service.deadline import Deadline
from service.errors import MalformedRequest
from service.knobs import Limits
from service.lane import Lane
from service.protocol import size, v2
from service.tensors import Array, Tensors, TensorSpec
from service.web.scoring import Item, Job, Ran


@dataclass(frozen=True, slots=True)
class Tensorial:
    """Items that ask with tensors and are answered with tensors."""

    inputs: Tensors
    outputs: tuple[TensorSpec, ...]
    id: str


class Requests:
    """Of the Open Inference Protocol, in JSON; `request_id` names answers to those that have no name of their own."""

    def __init__(self, lane: Lane, limits: Limits, request_id: str) -> None:
        self._lane = lane
        self._limits = limits
        self._request_id = request_id

    def read(self, text: bytes) -> Item:
        model = self._lane.model
        asked = v2.decode(text, None, model.signature, self._limits)
        return self.item(asked, asked.inputs)

    def item(self, asked: v2.InferRequest, inputs: Tensors) -> Item:
        """That is what is asked for these inputs. Raises MalformedRequest, SignatureMismatch."""
        model = self._lane.model
        outputs = tuple(model.signature.select([output.name for output in asked.outputs]))
        for spec in outputs:
            if asked.wants_binary(spec.name):
                raise MalformedRequest(f"output {spec.name!r}: a stream has no binary tensors; ask for it in JSON")
        rows = model.check(inputs)
        key = outputs, model.batch_key(inputs)
        wanted = Tensorial(inputs, outputs, asked.id or self._request_id)
        return Item(wanted, rows, key, asked.weight, asked.timeout, asked.priority)

    def rows_of(self, whole: Item, most: int) -> Iterator[list[Job]]:
        """The same for each row by itself, so many at a time; a model without a batch axis has one."""
        if not self._lane.model.signature.batch:
            yield [Job(0, whole)]
            return
        for start in range(0, whole.rows, most):
            yield [Job(row, _row(whole, row)) for row in range(start, min(start + most, whole.rows))]

    async def run(self, items: Sequence[Item], deadline: Deadline) -> Ran:
        model, outputs = self._lane.model, items[0].asked.outputs
        requests = [item.asked.inputs for item in items]
        done = await self._lane.infer(model.join(requests), outputs, deadline, items[0].priority)
        names = [spec.name for spec in outputs]
        results = model.part(done.outputs, requests, [item.rows for item in items], names)
        return Ran(results, done.queue, done.run)

    def is_long(self, result: Sequence[Array]) -> bool:
        return any(size.is_long(tensor, False) for tensor in result)

    def write(self, item: Item, result: Sequence[Array]) -> bytes:
        model, asked = self._lane.model, item.asked
        tensors = [
            v2.OutputTensor(spec.name, spec.datatype, tensor, False)
            for spec, tensor in zip(asked.outputs, result, strict=True)
        ]
        text, _ = v2.encode(model.name, model.version, asked.id, tensors, self._limits)
        return text


def _row(whole: Item, row: int) -> Item:
    """Its deadline is that of the whole."""
    inputs = {name: tensor[row : row + 1] for name, tensor in whole.asked.inputs.items()}
    return Item(replace(whole.asked, inputs=inputs), 1, whole.key, priority=whole.priority)
