"""POST /v2/models/{model}/infer: bytes to tensors, the dataplane, tensors to bytes.

Nearly every request comes here, so the way is plain ASGI: what a framework does for a route costs more than a small
model does. `Infer` stands in front of FastAPI's router and takes the paths that are its own.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.caller import Caller, caller_of
from service.dataplane import Dataplane, Inference, Lane
from service.deadline import Deadline
from service.engine.model import Model
from service.errors import CallerError, MethodNotAllowed, ModelNotReady, Overloaded, shorten
from service.knobs import Admission, Http, Limits
from service.memory import Heap
from service.protocol import size, v2
from service.protocol.classification import Classes
from service.scheduling.admission import Budget
from service.telemetry.record import Record
from service.tensors import TensorSpec
from service.web import body, coding
from service.web.headers import fields
from service.web.reading import Reader, is_long
from service.web.records import record_of
from service.web.routes import inference
from service.web.timeouts import deadline_of, sooner

Headers = list[tuple[bytes, bytes]]

_TIMING: Final = b"decode;dur=%.3f, queue;dur=%.3f, run;dur=%.3f, encode;dur=%.3f"
# Compressing more than this would hold the event loop for milliseconds.
_COMPRESS_ON_LOOP: Final = 16 << 10


class Infer:
    """The inference paths; everything else goes on to `app`."""

    def __init__(
        self, app: ASGIApp, dataplane: Dataplane, settings: Http, limits: Limits, admission: Admission
    ) -> None:
        self.app = app
        self._dataplane = dataplane
        self._settings = settings
        self._limits = limits
        self._body_limit = min(settings.max_body_bytes, admission.max_bytes)
        self._heap = Heap()
        self._budget = Budget(admission.max_bytes, self._heap.note)
        self._reader = Reader(limits, admission.max_bytes)
        self._default_timeout = admission.default_timeout_ms / 1000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = inference(scope["path"]) if scope["type"] == "http" else None
        if asked is None:
            await self.app(scope, receive, send)
            return
        record_of(scope).route = asked.route
        if scope["method"] != "POST":
            raise MethodNotAllowed(
                f"{shorten(scope['path'])} does not know {record_of(scope).method}; it knows POST", "POST"
            )
        headers, answer = await self._infer(scope, receive, asked.model, asked.version)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        self._heap.note(len(answer))

    async def _infer(self, scope: Scope, receive: Receive, name: str, version: str | None) -> tuple[Headers, bytes]:
        record = record_of(scope)
        given = fields(scope["headers"])
        caller = caller_of(scope)
        with self._dataplane.enter(name, version) as lane, self._budget.hold() as hold:
            model = lane.model
            _account(record, model)
            deadline = deadline_of(given, self._default_timeout, caller.arrived)
            lane.admit(deadline)
            content = await body.read(given, receive, record, self._body_limit, hold)
            deadline.check("body")

            started = perf_counter()
            length = body.json_length(given)
            if is_long(content, length):
                asked = await self._reader.read(content, length, model.signature, hold, deadline, caller)
            else:
                asked = v2.decode(content, length, model.signature, self._limits)
            del content  # unless tensors lie in it, its memory is free from here on
            outputs = model.signature.select([output.name for output in asked.outputs])
            classes = [asked.classes(spec, model.signature.batch) for spec in outputs]
            record.decode = perf_counter() - started

            deadline = sooner(asked.timeout, deadline, caller.arrived)
            deadline.check("decode")
            done = await self._run(lane, asked, outputs, deadline, caller, record)
            record.rows, record.queue, record.run = done.rows, done.queue, done.run

        started = perf_counter()
        identity = asked.id or record.request_id
        parameters = {"fallback_for": record.fallback_for} if record.fallback_for else v2.NOTHING
        tensors = _tensors(asked, outputs, classes, done)
        parts = (record.model, record.version, identity, tensors, self._limits, parameters)
        answer, length = await asyncio.to_thread(v2.encode, *parts) if _is_long(tensors) else v2.encode(*parts)
        headers = _headers(length)
        if chosen := coding.choose(given.get(b"accept-encoding"), len(answer), self._settings.compress_min_bytes):
            headers += [(b"content-encoding", chosen.encode()), (b"vary", b"accept-encoding")]
            answer = await _compressed(chosen, answer)
        record.encode = perf_counter() - started
        deadline.check("encode")
        headers += ((b"content-length", b"%d" % len(answer)), (b"server-timing", _timing(record)))
        return headers, answer

    async def _run(
        self,
        lane: Lane,
        asked: v2.InferRequest,
        outputs: Sequence[TensorSpec],
        deadline: Deadline,
        caller: Caller,
        record: Record,
    ) -> Inference:
        """By the model asked for; where that is overloaded and the caller allows it, by the one declared as smaller."""
        try:
            return await lane.infer(asked.inputs, outputs, deadline, asked.priority, caller)
        except Overloaded:
            smaller = lane.model.declaration.fallback
            if not (smaller and asked.allow_fallback):
                raise
            # Where a reload has taken it away or made it another one, or it can do no more either, the refusal stands.
            with suppress(CallerError, ModelNotReady, Overloaded), self._dataplane.enter(smaller) as other:
                _account(record, other.model, lane.model.name)
                return await other.infer(asked.inputs, outputs, deadline, asked.priority, caller)
            _account(record, lane.model)
            raise


def _account(record: Record, model: Model, fallback_for: str = "") -> None:
    record.model, record.version, record.fallback_for = model.name, model.version, fallback_for


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


def _timing(record: Record) -> bytes:
    """Server-Timing: milliseconds (https://www.w3.org/TR/server-timing/)."""
    times = (record.decode, record.queue, record.run, record.encode)
    return _TIMING % tuple([1000 * (seconds or 0) for seconds in times])


async def _compressed(chosen: str, answer: bytes) -> bytes:
    if len(answer) > _COMPRESS_ON_LOOP:
        return await asyncio.to_thread(coding.compress, chosen, answer)
    return coding.compress(chosen, answer)
