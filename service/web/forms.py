"""The forms in which streams ask and are answered: requests of either protocol, one in each line, or rows of one."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from service.deadline import Deadline
from service.engine.transform import Loaded
from service.errors import AnswerTooLarge, CallerError, MalformedRequest, OnnicornError
from service.knobs import Limits
from service.lane import Lane
from service.protocol import document, lines, size, v2
from service.protocol.classification import Classes
from service.tensors import Array, Tensors, TensorSpec, weight
from service.web.scoring import Form, Item, Ran

# How the typed protocol calls what is alone in its line.
_ALONE: Final = "instances[0]"


@dataclass(frozen=True, slots=True)
class Tensorial:
    """What is asked with tensors and answered with tensors; `id` is the answer's."""

    inputs: Tensors
    outputs: tuple[TensorSpec, ...]
    id: str = ""
    classes: tuple[Classes | None, ...] = ()


class _OneByOne:
    """Nothing is gained by reading several at once."""

    def read(self, text: bytes) -> Item:
        raise NotImplementedError

    def read_all(self, texts: Sequence[bytes]) -> list[Item | OnnicornError]:
        return [self._read_or_refuse(text) for text in texts]

    def _read_or_refuse(self, text: bytes) -> Item | OnnicornError:
        try:
            return self.read(text)
        except OnnicornError as error:
            return error


class _ByTensors(_OneByOne):
    """What both protocols have in common."""

    def __init__(self, lane: Lane, limits: Limits) -> None:
        self._lane = lane
        self._limits = limits

    async def run(self, items: Sequence[Item], deadline: Deadline) -> Ran:
        model, outputs = self._lane.model, items[0].asked.outputs
        requests = [item.asked.inputs for item in items]
        done = await self._lane.infer(model.join(requests), outputs, deadline, items[0].priority)
        names = [spec.name for spec in outputs]
        results = model.part(done.outputs, requests, [item.rows for item in items], names)
        weigh = partial(_weight, done.outputs)
        weighed = await asyncio.to_thread(weigh) if self.is_long(done.outputs) else weigh()
        return Ran(results, done.queue, done.run, weighed)

    def is_long(self, result: Sequence[Array]) -> bool:
        return any(size.is_long(tensor, False) for tensor in result)


class Requests(_ByTensors):
    """The Open Inference Protocol's, in JSON; `request_id` names answers to those that have no name of their own."""

    def __init__(self, lane: Lane, limits: Limits, request_id: str) -> None:
        super().__init__(lane, limits)
        self._request_id = request_id

    def read(self, text: bytes) -> Item:
        with _in_a_line():
            return self.item(v2.decode(text, None, self._lane.model.signature, self._limits))

    def item(self, asked: v2.InferRequest) -> Item:
        """Raises MalformedRequest, SignatureMismatch."""
        model = self._lane.model
        outputs = tuple(model.signature.select([output.name for output in asked.outputs]))
        for spec in outputs:
            if asked.wants_binary(spec.name):
                raise MalformedRequest(f"output {spec.name!r}: a stream has no binary tensors; ask for it in JSON")
        rows = model.check(asked.inputs)
        key = tuple([spec.name for spec in outputs]), model.batch_key(asked.inputs)
        classes = tuple([asked.classes(spec, model.signature.batch) for spec in outputs])
        wanted = Tensorial(asked.inputs, outputs, asked.id or self._request_id, classes)
        return Item(wanted, rows, key, asked.weight, asked.timeout, asked.priority)

    def rows_of(self, whole: Item, most: Callable[[], int]) -> Iterator[dict[int, Item]]:
        """The same for each row by itself, so many at a time; a model without a batch axis has one."""
        if not self._lane.model.signature.batch:
            yield {0: whole}
            return
        start = 0
        while start < whole.rows:
            end = min(start + most(), whole.rows)
            yield {row: _row(whole, row) for row in range(start, end)}
            start = end

    def write(self, item: Item, result: Sequence[Array]) -> bytes:
        model, asked = self._lane.model, item.asked
        tensors = [
            v2.OutputTensor(spec.name, spec.datatype, tensor, False, classes)
            for spec, classes, tensor in zip(asked.outputs, asked.classes, result, strict=True)
        ]
        text, _ = v2.encode(model.name, model.version, asked.id, tensors, self._limits)
        return text


class Instances(_ByTensors):
    """The typed protocol's rows; of a model without a batch axis, what its `inputs` would be."""

    def read(self, text: bytes) -> Item:
        model = self._lane.model
        with _in_a_line():
            asked = lines.decode(text, model.signature, self._limits)
            rows = model.check(asked.inputs)
        return Item(Tensorial(asked.inputs, model.signature.outputs), rows, model.batch_key(asked.inputs), asked.weight)

    def read_all(self, texts: Sequence[bytes]) -> list[Item | OnnicornError]:
        """Together, if all of them are well and of one shape; or else one by one, and each is told its own."""
        if len(texts) > 1 and self._lane.model.signature.batch:
            with suppress(CallerError):
                return list(self._together(texts))
        return super().read_all(texts)

    def _together(self, texts: Sequence[bytes]) -> Iterator[Item]:
        model = self._lane.model
        inputs = lines.decode_all(texts, model.signature, self._limits).inputs
        model.check(inputs)
        whole = Item(Tensorial(inputs, model.signature.outputs), len(texts), model.batch_key(inputs))
        return (_row(whole, row) for row in range(len(texts)))

    def write(self, item: Item, result: Sequence[Array]) -> bytes:
        signature = self._lane.model.signature
        outputs = list(zip(signature.output_names, result, strict=True))
        return lines.encode(outputs, signature.batch, self._limits)


class Transformed(_OneByOne):
    """What the model's transform takes and gives."""

    def __init__(self, lane: Lane, limits: Limits, transform: Loaded) -> None:
        self._lane = lane
        self._limits = limits
        self._transform = transform

    def read(self, text: bytes) -> Item:
        with _in_a_line():
            [instance] = self._transform.parse([document.parse_value(text, self._limits, of_rows=True)])
        return Item(instance, 1, None, document.weight(text))

    async def run(self, items: Sequence[Item], deadline: Deadline) -> Ran:
        with _in_a_line():
            done = await self._lane.predict([item.asked for item in items], deadline)
        # In a thread, because what others have written may take its time.
        results = await asyncio.to_thread(self._texts, done.predictions)
        return Ran(results, done.queue, done.run, sum(map(self._size, results)))

    def is_long(self, result: bytes | AnswerTooLarge) -> bool:
        return False  # it is written already

    def write(self, item: Item, result: bytes | AnswerTooLarge) -> bytes:
        if isinstance(result, AnswerTooLarge):
            raise result
        return result

    def _size(self, result: bytes | AnswerTooLarge) -> int:
        """Of one that is too large nobody knows more than that."""
        return len(result) if isinstance(result, bytes) else self._limits.answer_bytes

    def _texts(self, predictions: Sequence[Any]) -> list[bytes | AnswerTooLarge]:
        """What waits to be sent should wait as text: as values it takes several times as much, and nobody knows it."""
        return [self._text(value) for value in self._transform.document(predictions)]

    def _text(self, value: Any) -> bytes | AnswerTooLarge:
        try:
            return lines.encode_value(value, self._limits)
        except AnswerTooLarge as error:
            return error.with_traceback(None)  # which would keep the value


def lines_of(lane: Lane, limits: Limits) -> Form:
    """The typed protocol's form for a model."""
    transform = lane.model.transform
    return Transformed(lane, limits, transform) if transform else Instances(lane, limits)


@contextmanager
def _in_a_line() -> Iterator[None]:
    """Nobody who sends a line has written `instances`, or knows what its body is."""
    try:
        yield
    except CallerError as error:
        raise type(error)(str(error).replace(_ALONE, "line").replace("the body", "the line", 1)) from None


def _weight(tensors: Sequence[Array]) -> int:
    return sum(map(weight, tensors))


def _row(whole: Item, row: int) -> Item:
    """Its deadline is that of the whole."""
    asked = whole.asked
    inputs = {name: tensor[row : row + 1] for name, tensor in asked.inputs.items()}
    return Item(Tensorial(inputs, asked.outputs, asked.id, asked.classes), 1, whole.key, priority=whole.priority)
