"""What most tutorials end with: a synchronous FastAPI endpoint, pydantic bodies, two `@app.middleware("http")`."""

import os
import time
import uuid
from collections.abc import Awaitable, Callable

import numpy as np
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from benchmarks.session import load

Next = Callable[[Request], Awaitable[Response]]


class Scan(BaseModel):
    image: list[list[float]]


class Prediction(BaseModel):
    label: list[int]
    probabilities: list[list[float]]


def create_app() -> FastAPI:
    session = load(os.environ["BENCHMARK_MODEL"])
    app = FastAPI()

    @app.middleware("http")
    async def add_request_id(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        response.headers["X-Request-ID"] = request.headers.get("X-Request-ID", str(uuid.uuid4()))
        return response

    @app.middleware("http")
    async def add_process_time(request: Request, call_next: Next) -> Response:
        started = time.perf_counter()
        response = await call_next(request)
        response.headers["X-Process-Time"] = str(time.perf_counter() - started)
        return response

    @app.post("/predict")
    def predict(scan: Scan) -> Prediction:
        label, probabilities = session.run(None, {"image": np.array(scan.image, dtype=np.float32)})
        return Prediction(label=label.tolist(), probabilities=probabilities.tolist())

    return app
