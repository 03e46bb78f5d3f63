"""POST /v2/models/{model}/infer: bytes to tensors, the dataplane, tensors to bytes."""

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter

from starlette.types import Receive, Scope, Send

from service.caller import Caller, caller_of
from service.deadline import Deadline
from service.lane import Inference, Lane
from service.protocol import size, v2
from service.protocol.classification import Classes
from service.scheduling.admission import Hold
from service.telemetry.record import Record
from service.tensors import TensorSpec
from service.web import body
from service.web.headers import fields
from service.web.passage import Answer, Given, Headers, Passage, compressed, finish
from service.web.reading import is_long
from service.web.records import record_of
from service.web.routes import Asked
from service.web.timeouts import sooner


class Infer:
    """The door of the Open Inference Protocol."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Asked) -> Answer:
        passage = self._passage
        limits = passage.limits
        record = record_of(scope)
        given = fields(scope["headers"])
        caller = caller_of(scope)
        with passage.dataplane.enter(path.model, path.version) as lane, passage.budget.hold() as hold:
            asked, deadline = await requested(passage, lane, given, receive, record, caller, hold)
            signature = lane.model.signature
            outputs = signature.select([output.name for output in asked.outputs])
            classes = [asked.classes(spec, signature.batch) for spec in outputs]
            done = await passage.run(lane, asked, outputs, deadline, caller, record)

        started = perf_counter()
        identity = asked.id or record.request_id
        parameters = {"fallback_for": record.fallback_for} if record.fallback_for else v2.NOTHING
        tensors = _tensors(asked, outputs, classes, done)
        parts = (record.model, record.version, identity, tensors, limits, parameters)
        answer, length = await asyncio.to_thread(v2.encode, *parts) if _is_long(tensors) else v2.encode(*parts)
        headers = _headers(length)
        if chosen := passage.coding(given, answer):
            headers, answer = await compressed(chosen, headers, answer)
        return finish(headers, answer, started, deadline, record)


async def requested(
    passage: Passage, lane: Lane, given: Given, receive: Receive, record: Record, caller: Caller, hold: Hold
) -> tuple[v2.InferRequest, Deadline]:
    """The whole request, admitted and read, and until when its caller waits."""
    limits, signature = passage.limits, lane.model.signature
    deadline = passage.admit(lane, given, caller, record)
    content = await passage.read(given, receive, record, hold)
    deadline.check("body")

    started = perf_counter()
    length = body.json_length(given)
    if is_long(content, length):
        # Binary tensors lie in the body, and so keep the JSON before them too.
        decode = partial(v2.decode, content, length, signature, limits)
        asked = await passage.reader.read(decode, len(content), length or 0, hold, deadline, caller)
    else:
        asked = v2.decode(content, length, signature, limits)
    record.decode = perf_counter() - started

    deadline = sooner(asked.timeout, deadline, caller.arrived)
    deadline.check("decode")
    return asked, deadline


def _tensors(
    asked: v2.InferRequest, outputs: Sequence[TensorSpec], classes: Sequence[Classes | None], done: Inference
) -> list[v2.OutputTensor]:
    return [
        v2.OutputTensor(spec.name, spec.datatype, tensor, asked.wants_binary(spec.name), some)
        for spec, some, tensor in zip(outputs, classes, done.outputs, strict=True)
    ]


def _is_long(tensors: Sequence[v2.OutputTensor]) -> bool:
    """Would to write them hold the event loop for long?"""
    for _, _, tensor, is_binary, classes in tensors:  # noqa: SIM110 - every request passes here, and `any` costs more
        if size.is_long(tensor, is_binary and classes is None):
            return True
    return False


def _headers(json_length: int | None) -> Headers:
    if json_length is None:
        return [(b"content-type", b"application/json")]
    return [
        (b"content-type", b"application/octet-stream"),
        (b"inference-header-content-length", b"%d" % json_length),
    ]
