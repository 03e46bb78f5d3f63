"""A request's way to a model and back: what every door does alike.

A worker has one, so all its doors share one budget of bytes, and read the longest bodies one after the other.
"""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Final, Protocol

from starlette.types import Receive

from service.caller import Caller
from service.dataplane import Dataplane
from service.deadline import Deadline
from service.engine.model import Model
from service.errors import CallerError, ModelNotReady, Overloaded
from service.knobs import Admission, Http, Limits
from service.lane import Inference, Lane
from service.scheduling.admission import Budget, Hold
from service.telemetry.record import Record
from service.tensors import Tensors, TensorSpec
from service.web import body, coding
from service.web.reading import Reader
from service.web.stream import Windows
from service.web.timeouts import deadline_of

Given = Mapping[bytes, bytes]
Headers = list[tuple[bytes, bytes]]
Answer = tuple[Headers, bytes]
"""What a door answers with: its headers, and all of its body."""

_TIMING: Final = b"decode;dur=%.3f, queue;dur=%.3f, run;dur=%.3f, encode;dur=%.3f"
# Compressing more than this would hold the event loop for milliseconds.
_COMPRESS_ON_LOOP: Final = 16 << 10


class Asked(Protocol):
    """What was asked of a model, as far as its run is concerned."""

    @property
    def inputs(self) -> Tensors: ...
    @property
    def priority(self) -> int: ...
    @property
    def allow_fallback(self) -> bool: ...


class Passage:
    """In the order in which a request comes by: `admit`, `read` or `reader`, `run`, `compressed`, `finish`.

    A door takes a lane and a hold on the budget for itself, with `with`, around all but the last two.
    """

    def __init__(self, dataplane: Dataplane, settings: Http, limits: Limits, admission: Admission) -> None:
        self.dataplane = dataplane
        self.limits = limits
        self.budget = Budget(admission.max_bytes)
        self.reader = Reader(admission.max_bytes)
        self.windows = Windows()
        self.body_limit = min(settings.max_body_bytes, admission.max_bytes)
        self._compress_min_bytes = settings.compress_min_bytes
        self._default_timeout = admission.default_timeout_ms / 1000

    def admit(self, lane: Lane, given: Given, caller: Caller, record: Record) -> Deadline:
        """From here on the request is the model's, until when its caller says. Raises MalformedRequest, Overloaded."""
        account(record, lane.model)
        deadline = self.deadline(given, caller)
        lane.admit(deadline)
        return deadline

    def deadline(self, given: Given, caller: Caller) -> Deadline:
        """Until when the caller waits, whatever is asked for. Raises MalformedRequest."""
        return deadline_of(given, self._default_timeout, caller.arrived)

    def read(
        self, given: Given, receive: Receive, record: Record, hold: Hold, media_types: Collection[str] = ()
    ) -> Awaitable[bytes]:
        """The whole body, as `body.read`."""
        return body.read(given, receive, record, self.body_limit, hold, media_types)

    async def run(
        self,
        lane: Lane,
        asked: Asked,
        outputs: Sequence[TensorSpec],
        deadline: Deadline,
        caller: Caller,
        record: Record,
    ) -> Inference:
        """By the model asked for; where that is overloaded and the caller allows it, by the one declared as smaller."""
        try:
            done = await lane.infer(asked.inputs, outputs, deadline, asked.priority, caller)
        except Overloaded:
            other = await self._run_smaller(lane.model, asked, outputs, deadline, caller, record)
            if other is None:
                raise
            done = other
        record.rows, record.queue, record.run = done.rows, done.queue, done.run
        return done

    async def _run_smaller(
        self,
        model: Model,
        asked: Asked,
        outputs: Sequence[TensorSpec],
        deadline: Deadline,
        caller: Caller,
        record: Record,
    ) -> Inference | None:
        """None where nobody wants it, a reload has taken it away or made it another, or it can do no more either."""
        smaller = model.declaration.fallback
        if not (smaller and asked.allow_fallback):
            return None
        with suppress(CallerError, ModelNotReady, Overloaded), self.dataplane.enter(smaller) as lane:
            account(record, lane.model, model.name)
            return await lane.infer(asked.inputs, outputs, deadline, asked.priority, caller)
        account(record, model)
        return None

    def coding(self, given: Given, answer: bytes) -> str | None:
        """How the caller wants this answer to be compressed, if at all."""
        return coding.choose(given.get(b"accept-encoding"), len(answer), self._compress_min_bytes)

    def coding_of_stream(self, given: Given) -> str | None:
        """The same of an answer whose length nobody knows: it counts as long."""
        return coding.choose(given.get(b"accept-encoding"), self._compress_min_bytes, self._compress_min_bytes)


def account(record: Record, model: Model, fallback_for: str = "") -> None:
    record.model, record.version, record.fallback_for = model.name, model.version, fallback_for


async def compressed(chosen: str, headers: Headers, answer: bytes) -> Answer:
    headers += [(b"content-encoding", chosen.encode()), (b"vary", b"accept-encoding")]
    if len(answer) > _COMPRESS_ON_LOOP:
        return headers, await asyncio.to_thread(coding.compress, chosen, answer)
    return headers, coding.compress(chosen, answer)


def finish(headers: Headers, answer: bytes, started: float, deadline: Deadline, record: Record) -> Answer:
    """With its length and its times, if it is not too late: encoding has `started` then. Raises DeadlineExceeded."""
    record.encode = perf_counter() - started
    deadline.check("encode")
    headers += ((b"content-length", b"%d" % len(answer)), (b"server-timing", _timing(record)))
    return headers, answer


def _timing(record: Record) -> bytes:
    """Server-Timing: milliseconds (https://www.w3.org/TR/server-timing/)."""
    times = (record.decode, record.queue, record.run, record.encode)
    return _TIMING % tuple([1000 * (seconds or 0) for seconds in times])
