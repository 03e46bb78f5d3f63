"""GET /v2/models/{model}/stats: what has become of a model's requests, in Triton's form, counted over all workers.

Source: triton-inference-server/server, docs/protocol/extension_statistics.md. Times are those of our metrics: a request
is decoded and its answer encoded, which is what `compute_input` and `compute_output` tell. A batch only has its run.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from service.dataplane import Dataplane
from service.engine.model import Model
from service.telemetry.totals import Numbers, Totals
from service.web.answers import answer

# The stage of a request, in Triton's words and in those of our metrics.
_STAGES: Final = {"queue": "queue", "compute_input": "decode", "compute_infer": "run", "compute_output": "encode"}
_NOTHING: Final = {"count": 0, "ns": 0}


class Duration(BaseModel):
    """How often something happened, and how many nanoseconds all of it took."""

    count: int
    ns: int


class InferenceStatistics(BaseModel):
    """Of single requests. There is no cache here."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class BatchStatistics(BaseModel):
    """Of the runs with so many rows."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(BaseModel):
    """Rows and runs, all of them that succeeded; `last_inference` is in milliseconds since 1970, 0 for never."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    response_stats: dict[str, Any]
    batch_stats: list[BatchStatistics]
    memory_usage: list[dict[str, Any]]


class Statistics(BaseModel):
    """What the model's metrics say; they survive their workers."""

    model_stats: list[ModelStatistics]


def router(dataplane: Dataplane, totals: Totals) -> APIRouter:
    """To be asked before a route that takes `stats` for the name of a model."""
    routes = APIRouter(tags=["metadata"])

    async def told(models: Sequence[Model]) -> Response:
        numbers = await asyncio.to_thread(totals.read)
        versions = [(model.name, str(model.version)) for model in models]
        found = [statistics(*version, numbers.get(version, {})) for version in versions]
        return answer(200, {"model_stats": found})

    @routes.get("/v2/models/stats", summary="Statistics of all models in Triton's form", response_model=Statistics)
    async def of_all() -> Response:
        return await told(dataplane.catalogue.models)

    @routes.get(
        "/v2/models/{model_name}/stats",
        summary="Statistics of all versions of a model in Triton's form",
        response_model=Statistics,
    )
    async def of_model(model_name: str) -> Response:
        served = [model for model in dataplane.catalogue.models if model.name == model_name]
        return await told(served or [dataplane.resolve(model_name)])

    @routes.get(
        "/v2/models/{model_name}/versions/{model_version}/stats",
        summary="Statistics of one version",
        response_model=Statistics,
    )
    async def of_version(model_name: str, model_version: str) -> Response:
        return await told([dataplane.resolve(model_name, model_version)])

    return routes


def statistics(model: str, version: str, numbers: Numbers) -> dict[str, Any]:
    """A request has one response, and memory is not told apart by models: those parts are empty."""
    return {
        "name": model,
        "version": version,
        "last_inference": int(numbers.get(("inference_last_run_seconds", ""), 0) * 1000),
        "inference_count": int(numbers.get(("inference_batch_rows_sum", ""), 0)),
        "execution_count": int(numbers.get(("inference_batch_rows_count", ""), 0)),
        "inference_stats": _of_requests(numbers),
        "response_stats": {},
        "batch_stats": _of_batches(numbers),
        "memory_usage": [],
    }


def _of_requests(numbers: Numbers) -> dict[str, Any]:
    """Each stage has one count, that of the successes: Triton's tools take nothing else, whenever they look."""
    ended = {outcome: count for (name, outcome), count in numbers.items() if name == "inference_requests_total"}
    good = ended.get("ok", 0)
    seconds = {outcome: numbers.get(("inference_request_seconds_total", outcome), 0) for outcome in ("ok", "other")}
    stages = {stage: numbers.get((f"inference_{ours}_seconds_sum", ""), 0) for stage, ours in _STAGES.items()}
    return {
        "success": _duration(good, seconds["ok"]),
        "fail": _duration(sum(ended.values()) - good, seconds["other"]),
        **{stage: _duration(good, total) for stage, total in stages.items()},
        "cache_hit": _NOTHING,
        "cache_miss": _NOTHING,
    }


def _of_batches(numbers: Numbers) -> list[dict[str, Any]]:
    sizes = sorted((int(size), count) for (name, size), count in numbers.items() if name == "inference_batches_total")
    return [
        {
            "batch_size": size,
            "compute_input": _duration(count, 0),
            "compute_infer": _duration(count, numbers.get(("inference_batch_seconds_total", str(size)), 0)),
            "compute_output": _duration(count, 0),
        }
        for size, count in sizes
    ]


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": int(count), "ns": int(seconds * 1e9)}
