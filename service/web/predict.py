"""POST /v1/models/{model}:predict: a caller's own JSON to tensors or a transform's instances, and back."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeVar

from starlette.types import Receive, Scope, Send

from service.caller import Caller, caller_of
from service.deadline import Deadline
from service.engine.transform import Loaded, Raw
from service.knobs import Limits
from service.lane import Lane, Predicted
from service.protocol import predictions, size, v1
from service.scheduling.admission import Hold
from service.telemetry.record import Record
from service.web import body
from service.web.bulk import Bulk
from service.web.forms import lines_of
from service.web.headers import fields
from service.web.passage import Answer, Given, Headers, Passage, compressed, finish
from service.web.portions import are_lines
from service.web.reading import is_long
from service.web.records import record_of
from service.web.routes import Asked
from service.web.timeouts import sooner

Read = TypeVar("Read", v1.Columns, v1.Instances)
Writing = tuple[Callable[[], bytes], bool]
"""How an answer is written, and whether that takes long."""


@dataclass(slots=True)
class _Visit:
    """A request that has been let in."""

    lane: Lane
    given: Given
    receive: Receive
    hold: Hold
    deadline: Deadline
    caller: Caller
    record: Record


class Predict:
    """The typed door: instances in, predictions out."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._bulk = Bulk(passage)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Asked) -> Answer | None:
        passage = self._passage
        record = record_of(scope)
        given = fields(scope["headers"])
        if are_lines(given):
            await self._bulk(scope, receive, send, path, lambda lane, _: lines_of(lane, passage.limits))
            return None
        caller = caller_of(scope)
        with passage.dataplane.enter(path.model, path.version) as lane, passage.budget.hold() as hold:
            deadline = passage.admit(lane, given, caller, record)
            visit = _Visit(lane, given, receive, hold, deadline, caller, record)
            transform = lane.model.transform
            encode, takes_long = await (self._transform(visit, transform) if transform else self._infer(visit))

        started = perf_counter()
        answer = await asyncio.to_thread(encode) if takes_long else encode()
        headers: Headers = [(b"content-type", b"application/json")]
        if chosen := passage.coding(given, answer):
            headers, answer = await compressed(chosen, headers, answer)
        return finish(headers, answer, started, visit.deadline, record)

    async def _infer(self, visit: _Visit) -> Writing:
        """By tensors alone."""
        record, limits = visit.record, self._passage.limits
        signature = visit.lane.model.signature
        content = await self._body(visit)
        decode = partial(v1.decode, content, signature, limits)
        asked = await self._read(visit, decode, len(content), takes_long=is_long(content, None))
        del content, decode  # the model runs without them
        done = await self._passage.run(visit.lane, asked, signature.outputs, visit.deadline, visit.caller, record)
        outputs = list(zip(signature.output_names, done.outputs, strict=True))
        parameters = {"fallback_for": record.fallback_for} if record.fallback_for else None
        takes_long = any(size.is_long(tensor, binary=False) for tensor in done.outputs)
        return partial(predictions.encode, outputs, asked.by_row, limits, parameters), takes_long

    async def _transform(self, visit: _Visit, transform: Loaded) -> Writing:
        """By what stands beside the model, which may take its time with anything.

        But for the instances of a short body: they are checked on the event loop, so its types should be quick.
        """
        limits = self._passage.limits
        content = await self._body(visit, transform.media_types)
        if (media_type := body.media_type(visit.given)) in transform.media_types:
            decode, takes_long = partial(_raw, content, media_type), False
        else:
            decode = partial(v1.decode_instances, content, transform.parse, limits)
            takes_long = is_long(content, None)
        asked = await self._read(visit, decode, len(content), takes_long=takes_long)
        del content, decode
        done = await visit.lane.predict(asked.instances, visit.deadline, asked.priority, visit.caller)
        record = visit.record
        record.rows, record.queue, record.run = done.rows, done.queue, done.run
        return partial(_written, transform, done, limits), True

    async def _body(self, visit: _Visit, media_types: tuple[str, ...] = ()) -> bytes:
        content = await self._passage.read(visit.given, visit.receive, visit.record, visit.hold, media_types)
        visit.deadline.check("body")
        return content

    async def _read(self, visit: _Visit, decode: Callable[[], Read], length: int, *, takes_long: bool) -> Read:
        """What is in a body of so many bytes, and until when that is wanted."""
        started = perf_counter()
        if takes_long:
            asked = await self._passage.reader.read(decode, length, 0, visit.hold, visit.deadline, visit.caller)
        else:
            asked = decode()
        visit.record.decode = perf_counter() - started
        visit.deadline = sooner(asked.timeout, visit.deadline, visit.caller.arrived)
        visit.deadline.check("decode")
        return asked


def _raw(content: bytes, media_type: str) -> v1.Instances:
    """The whole body is one instance; the transform reads it where it runs."""
    return v1.Instances([Raw(content, media_type)], len(content))


def _written(transform: Loaded, done: Predicted, limits: Limits) -> bytes:
    return predictions.encode_all(transform.document(done.predictions), limits)
