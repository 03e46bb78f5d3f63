"""Health on the API port, and its metrics. The ops port says the same from a process that no request can block."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.board import Board
from service.telemetry.scrape import Scrape
from service.web.answers import answer

ALIVE: Final = {"status": "alive"}
_EXPOSITIONS: Final[dict[str, Any]] = {"text/plain": {}, "application/openmetrics-text": {}}


class Liveness(BaseModel):
    live: bool


class Status(BaseModel):
    """In the words of KServe's protocol v1, whose clients ask for nothing else."""

    status: str


class Readiness(BaseModel):
    """`generation` counts what has been validated and served; `reasons` says why it is not ready."""

    ready: bool
    generation: int
    reasons: list[str]


def health_router(board: Board) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/", summary="The same in KServe's v1", response_model=Status)
    async def alive() -> Response:
        return answer(200, ALIVE)

    @routes.get("/v2/health/live", summary="Can a worker answer?", response_model=Liveness)
    async def live() -> Response:
        return answer(200, {"live": True})

    @routes.get(
        "/v2/health/ready",
        summary="May requests be sent here?",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Not now"}},
    )
    async def ready() -> Response:
        verdict = board.ready()
        return answer(
            200 if verdict.yes else 503,
            {"ready": verdict.yes, "generation": board.service.generation, "reasons": verdict.reasons},
        )

    return routes


def metrics_router(scrape: Scrape) -> APIRouter:
    routes = APIRouter(tags=["metrics"])

    @routes.get(
        "/metrics",
        summary="Prometheus or OpenMetrics text",
        response_class=Response,
        responses={200: {"content": _EXPOSITIONS}},
    )
    async def metrics(request: Request) -> Response:
        body, content_type = await asyncio.to_thread(scrape.render, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    return routes
