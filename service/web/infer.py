"""POST /v2/models/{model}/infer: bytes to tensors, the dataplane, tensors to bytes.

Nearly every request comes here, so the way is plain ASGI: what a framework does for a route costs more than a small
model does. `Infer` stands in front of FastAPI's router and takes the paths that are its own.
"""

import asyncio
import re
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.dataplane import Dataplane, Inference
from service.errors import MethodNotAllowed
from service.knobs import Http, Limits
from service.protocol import v2
from service.tensors import Signature, TensorSpec
from service.web import body, coding
from service.web.records import record_of

Headers = list[tuple[bytes, bytes]]

ROUTE: Final = "/v2/models/{model_name}/infer"
VERSION_ROUTE: Final = "/v2/models/{model_name}/versions/{model_version}/infer"
_PATH: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
# Compressing more than this would hold the event loop for milliseconds.
_COMPRESS_ON_LOOP: Final = 16 << 10
# Reading more JSON than this in a thread costs no throughput, and nobody else waits for it: with bodies of 1.5 MB the
# loop was held for 5 ms at the median (7 at the 99th percentile), with a thread for 0 (2).
_DECODE_ON_LOOP: Final = 64 << 10


class Infer:
    """The inference paths; everything else goes on to `app`."""

    def __init__(self, app: ASGIApp, dataplane: Dataplane, settings: Http, limits: Limits) -> None:
        self.app = app
        self._dataplane = dataplane
        self._settings = settings
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if match is None:
            await self.app(scope, receive, send)
            return
        name, version = match.groups()
        record_of(scope).route = ROUTE if version is None else VERSION_ROUTE
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['path']} does not know {record_of(scope).method}; it knows POST", "POST")
        headers, answer = await self._infer(scope, receive, name, version)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _infer(self, scope: Scope, receive: Receive, name: str, version: str | None) -> tuple[Headers, bytes]:
        record = record_of(scope)
        given = dict(scope["headers"])
        with self._dataplane.enter(name, version) as lane:
            model = lane.model
            record.model, record.version = model.name, model.version
            content = await body.read(given, receive, record, self._settings.max_body_bytes)

            started = perf_counter()
            asked = await _decoded(content, body.json_length(given), model.signature, self._limits)
            outputs = model.signature.select([output.name for output in asked.outputs])
            record.decode = perf_counter() - started

            done = await lane.infer(asked.inputs, outputs)
            record.rows, record.queue, record.run = done.rows, done.queue, done.run

        started = perf_counter()
        identity = asked.id or record.request_id
        answer, length = v2.encode(model.name, model.version, identity, _tensors(asked, outputs, done), self._limits)
        headers = _headers(length)
        if chosen := coding.choose(given.get(b"accept-encoding"), len(answer), self._settings.compress_min_bytes):
            headers += [(b"content-encoding", chosen.encode()), (b"vary", b"accept-encoding")]
            answer = await _compressed(chosen, answer)
        headers.append((b"content-length", b"%d" % len(answer)))
        record.encode = perf_counter() - started
        return headers, answer


async def _decoded(content: bytes, json_length: int | None, signature: Signature, limits: Limits) -> v2.InferRequest:
    if (len(content) if json_length is None else json_length) > _DECODE_ON_LOOP:
        return await asyncio.to_thread(v2.decode, content, json_length, signature, limits)
    return v2.decode(content, json_length, signature, limits)


def _tensors(asked: v2.InferRequest, outputs: Sequence[TensorSpec], done: Inference) -> list[v2.OutputTensor]:
    return [
        v2.OutputTensor(spec.name, spec.datatype, tensor, asked.wants_binary(spec.name))
        for spec, tensor in zip(outputs, done.outputs, strict=True)
    ]


def _headers(json_length: int | None) -> Headers:
    if json_length is None:
        return [(b"content-type", b"application/json")]
    return [
        (b"content-type", b"application/octet-stream"),
        (b"inference-header-content-length", b"%d" % json_length),
    ]


async def _compressed(chosen: str, answer: bytes) -> bytes:
    if len(answer) > _COMPRESS_ON_LOOP:
        return await asyncio.to_thread(coding.compress, chosen, answer)
    return coding.compress(chosen, answer)
