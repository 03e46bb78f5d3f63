"""GET /v1/models...: what is served, as KServe's protocol v1, TensorFlow Serving and OpenAI tell it."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.dataplane import Dataplane
from service.engine.catalogue import Catalogue
from service.errors import ModelNotReady
from service.web.answers import answer

_NOT_LOADED = "it could not be loaded; POST /v2/repository/index has the reason"


class OpenAIModel(BaseModel):
    """What OpenAI's clients want to know of a model; nobody here knows when it was `created`, so that is 0."""

    id: str
    object: str
    created: int
    owned_by: str


class Models(BaseModel):
    """`models` is KServe's, the rest is OpenAI's."""

    models: list[str]
    object: str
    data: list[OpenAIModel]


class VersionState(BaseModel):
    error_code: str
    error_message: str


class VersionStatus(BaseModel):
    """`state` is AVAILABLE, or END where the version could not be loaded."""

    version: str
    state: str
    status: VersionState


class ModelStatus(OpenAIModel):
    """`name` and `ready` are KServe's, `model_version_status` is TensorFlow Serving's, the rest is OpenAI's."""

    name: str
    ready: bool
    model_version_status: list[VersionStatus]


def router(dataplane: Dataplane) -> APIRouter:
    """The same models as under /v2, for clients that know nothing else."""
    routes = APIRouter(prefix="/v1/models", tags=["v1"])

    @routes.get("", summary="The models that are served", response_model=Models)
    async def models() -> Response:
        names = dataplane.catalogue.names
        return answer(200, {"models": names, "object": "list", "data": [_for_openai(name) for name in names]})

    @routes.get(
        "/{model_name}",
        summary="Is a model ready, and in which versions?",
        response_model=ModelStatus,
        responses={503: {"model": ModelStatus, "description": "It is not ready"}},
    )
    async def model(model_name: str) -> Response:
        return _status(dataplane, model_name, None)

    @routes.get(
        "/{model_name}/versions/{model_version}",
        summary="Is one version ready?",
        response_model=ModelStatus,
        responses={503: {"model": ModelStatus, "description": "It is not ready"}},
    )
    async def model_version(model_name: str, model_version: str) -> Response:
        return _status(dataplane, model_name, model_version)

    return routes


def _status(dataplane: Dataplane, name: str, version: str | None) -> Response:
    try:
        dataplane.resolve(name, version)
        ready = True
    except ModelNotReady:
        ready = False
    versions = _versions(dataplane.catalogue, name, version)
    status = {"name": name, "ready": ready, "model_version_status": versions, **_for_openai(name)}
    return answer(200 if ready else 503, status)


def _for_openai(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "onnicorn"}


def _versions(catalogue: Catalogue, name: str, version: str | None) -> list[dict[str, Any]]:
    """The highest first, as TensorFlow Serving lists them. One that is served is so, whatever was refused since."""
    refused = {refusal.version for refusal in catalogue.refusals if refusal.name == name and refusal.version}
    served = catalogue.versions(name)
    numbers = sorted({*served, *refused}, reverse=True)
    return [
        _available(number) if number in served else _refused(number)
        for number in numbers
        if version in (None, str(number))
    ]


def _available(number: int) -> dict[str, Any]:
    return {"version": str(number), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}


def _refused(number: int) -> dict[str, Any]:
    status = {"error_code": "UNKNOWN", "error_message": _NOT_LOADED}
    return {"version": str(number), "state": "END", "status": status}
