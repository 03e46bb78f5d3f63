"""GET /v2...: what is served, and how it is."""

from typing import Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from service import __version__
from service.board import Board
from service.dataplane import Dataplane
from service.engine.model import Model
from service.errors import ModelNotReady
from service.knobs import Admission, Batching
from service.tensors import TensorSpec
from service.web.answers import answer
from service.web.configuration import configuration

# Only what works is listed.
EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_configuration", "schedule_policy", "statistics")
# The index is always there, but a client that finds these loads models.
OF_ADMINISTRATORS: Final = ("model_repository", "model_repository(unload_dependents)")


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """`shape` has -1 for a free dimension."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None


class ModelParameters(BaseModel):
    """`digest` is the SHA-256 of what was loaded; `verified` says that a SHA256SUMS beside it lists all of it.

    `operator_digests` are those of the libraries of custom operators that it runs with, `transform_digest` that of its
    transform's code, where there are some.
    """

    digest: str
    verified: bool
    operator_digests: list[str] | None = None
    transform_digest: str | None = None


class ModelMetadata(BaseModel):
    """`versions` are those that are served."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: ModelParameters


class ModelNames(BaseModel):
    models: list[str]


class ModelReadiness(BaseModel):
    name: str
    ready: bool


def router(
    dataplane: Dataplane, batching: Batching, admission: Admission, board: Board, *, is_administered: bool
) -> APIRouter:
    """Server and model metadata, and single models' readiness. `is_administered` says that callers may load models."""
    extensions = sorted((*EXTENSIONS, *(OF_ADMINISTRATORS if is_administered else ())))
    routes = APIRouter(tags=["metadata"])

    def configured(model: Model) -> Response:
        return answer(200, configuration(model, batching, admission, board.service.workers))

    @routes.get("/v2", summary="Server metadata", response_model=ServerMetadata)
    async def server() -> Response:
        return answer(200, {"name": "onnicorn", "version": __version__, "extensions": extensions})

    @routes.get("/v2/models", summary="The models that are served", response_model=ModelNames)
    async def models() -> Response:
        return answer(200, {"models": dataplane.catalogue.names})

    @routes.get("/v2/models/{model_name}", summary="Model metadata", response_model=ModelMetadata)
    async def model(model_name: str) -> Response:
        return answer(200, _metadata(dataplane, dataplane.resolve(model_name)))

    @routes.get(
        "/v2/models/{model_name}/versions/{model_version}",
        summary="Metadata of one version",
        response_model=ModelMetadata,
    )
    async def model_version(model_name: str, model_version: str) -> Response:
        return answer(200, _metadata(dataplane, dataplane.resolve(model_name, model_version)))

    @routes.get(
        "/v2/models/{model_name}/ready",
        summary="Model readiness",
        response_model=ModelReadiness,
        responses={503: {"model": ModelReadiness, "description": "It is not ready"}},
    )
    async def ready(model_name: str) -> Response:
        return _readiness(dataplane, model_name, None)

    @routes.get(
        "/v2/models/{model_name}/versions/{model_version}/ready",
        summary="Readiness of one version",
        response_model=ModelReadiness,
        responses={503: {"model": ModelReadiness, "description": "It is not ready"}},
    )
    async def version_ready(model_name: str, model_version: str) -> Response:
        return _readiness(dataplane, model_name, model_version)

    @routes.get("/v2/models/{model_name}/config", summary="Model configuration in Triton's form")
    async def config(model_name: str) -> Response:
        return configured(dataplane.resolve(model_name))

    @routes.get("/v2/models/{model_name}/versions/{model_version}/config", summary="Configuration of one version")
    async def version_config(model_name: str, model_version: str) -> Response:
        return configured(dataplane.resolve(model_name, model_version))

    return routes


def tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    """As the protocol lists it; labels, where the model has some, are the classes along the last axis."""
    metadata: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype.name, "shape": spec.public_shape}
    if spec.labels:
        metadata["parameters"] = {"labels": list(spec.labels)}
    return metadata


def _metadata(dataplane: Dataplane, model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [str(version) for version in dataplane.catalogue.versions(model.name)],
        "platform": "onnx_onnxv1",
        "inputs": [tensor_metadata(spec) for spec in model.signature.inputs],
        "outputs": [tensor_metadata(spec) for spec in model.signature.outputs],
        "parameters": model.entry.digests,
    }


def _readiness(dataplane: Dataplane, name: str, version: str | None) -> Response:
    try:
        dataplane.resolve(name, version)
    except ModelNotReady:
        return answer(503, {"name": name, "ready": False})
    return answer(200, {"name": name, "ready": True})
