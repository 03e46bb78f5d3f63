"""POST /v1/models/{model}:predict: a caller's own JSON to tensors, the dataplane, tensors to JSON."""

import asyncio
from functools import partial
from time import perf_counter

from starlette.types import Receive, Scope, Send

from service.caller import caller_of
from service.protocol import size, v1
from service.web.headers import fields
from service.web.passage import Answer, Headers, Passage, compressed, finish
from service.web.reading import is_long
from service.web.records import record_of
from service.web.routes import Asked
from service.web.timeouts import sooner


class Predict:
    """The typed door: instances in, predictions out."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: Asked) -> Answer:
        passage = self._passage
        record = record_of(scope)
        given = fields(scope["headers"])
        caller = caller_of(scope)
        with passage.dataplane.enter(path.model, path.version) as lane, passage.budget.hold() as hold:
            signature = lane.model.signature
            deadline = passage.admit(lane, given, caller, record)
            content = await passage.read(given, receive, record, hold)
            deadline.check("body")

            started = perf_counter()
            decode = partial(v1.decode, content, signature, passage.limits)
            if is_long(content, None):
                asked = await passage.reader.read(decode, len(content), 0, hold, deadline, caller)
            else:
                asked = decode()
            del content, decode  # their memory is free from here on
            record.decode = perf_counter() - started

            deadline = sooner(asked.timeout, deadline, caller.arrived)
            deadline.check("decode")
            done = await passage.run(lane, asked, signature.outputs, deadline, caller, record)

        started = perf_counter()
        parameters = {"fallback_for": record.fallback_for} if record.fallback_for else None
        outputs = list(zip(signature.output_names, done.outputs, strict=True))
        encode = partial(v1.encode, outputs, asked.by_row, passage.limits, parameters)
        takes_long = any(size.is_long(tensor, binary=False) for tensor in done.outputs)
        answer = await asyncio.to_thread(encode) if takes_long else encode()
        headers: Headers = [(b"content-type", b"application/json")]
        if chosen := passage.coding(given, answer):
            headers, answer = await compressed(chosen, headers, answer)
        return finish(headers, answer, started, deadline, record)
