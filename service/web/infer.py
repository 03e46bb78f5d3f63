"""POST /v2/models/{model}/infer: bytes to tensors, the dataplane, tensors to bytes."""

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from service.dataplane import Dataplane, Inference
from service.protocol import v2
from service.settings import Http
from service.tensors import TensorSpec
from service.web import body, coding
from service.web.records import record_of

# Compressing more than this would hold the event loop for milliseconds.
_COMPRESS_ON_LOOP: Final = 16 << 10


def router(dataplane: Dataplane, settings: Http) -> APIRouter:
    """The inference routes, with and without a version."""
    routes = APIRouter(tags=["inference"])

    async def infer(request: Request) -> Response:
        return await _infer(request, dataplane, settings)

    for path in ("/v2/models/{model_name}/infer", "/v2/models/{model_name}/versions/{model_version}/infer"):
        routes.add_api_route(
            path,
            infer,
            methods=["POST"],
            summary="Run a model",
            description="See the paths of the single models for their signatures and examples.",
            response_class=Response,
            openapi_extra={"parameters": _path_parameters(path)},
        )
    return routes


async def _infer(request: Request, dataplane: Dataplane, settings: Http) -> Response:
    record = record_of(request.scope)
    parameters = request.path_params
    model = dataplane.resolve(parameters["model_name"], parameters.get("model_version"))
    record.model, record.version = model.name, model.version
    content = await body.read(request, settings.max_body_bytes)

    started = perf_counter()
    asked = v2.decode(content, body.json_length(request), model.signature)
    outputs = model.signature.select([output.name for output in asked.outputs])
    record.decode = perf_counter() - started

    done = await dataplane.infer(model, asked.inputs, outputs)
    record.rows, record.queue, record.run = done.rows, done.queue, done.run

    started = perf_counter()
    identity = asked.id or record.request_id
    answer, length = v2.encode(model.name, model.version, identity, _tensors(asked, outputs, done))
    response = await _response(answer, length, request.headers.get("accept-encoding", ""), settings)
    record.encode = perf_counter() - started
    return response


def _tensors(asked: v2.InferRequest, outputs: Sequence[TensorSpec], done: Inference) -> list[v2.OutputTensor]:
    return [
        v2.OutputTensor(spec.name, spec.datatype, tensor, asked.wants_binary(spec.name))
        for spec, tensor in zip(outputs, done.outputs, strict=True)
    ]


async def _response(answer: bytes, length: int | None, accept: str, settings: Http) -> Response:
    headers = {"content-type": "application/json"}
    if length is not None:
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(length)}
    if chosen := coding.choose(accept, len(answer), settings.compress_min_bytes):
        headers |= {"content-encoding": chosen, "vary": "accept-encoding"}
        if len(answer) > _COMPRESS_ON_LOOP:
            answer = await asyncio.to_thread(coding.compress, chosen, answer)
        else:
            answer = coding.compress(chosen, answer)
    return Response(answer, headers=headers)


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
