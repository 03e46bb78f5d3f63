"""A model that is busy: who is refused, who is answered by a smaller one, whose time passes, and who leaves."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from service.caller import EXTENSION, Caller
from service.scheduling.arrivals import Arrivals
from service.settings import Settings
from service.telemetry.metrics import REGISTRY
from service.web.app import create_app
from service.web.gate import STATE
from tests import tiny
from tests.oip import Json, tensor
from tests.unit.loop import SECONDS, until

ENDLESS = 10**12


class Client:
    """Requests to an app without a server between."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def send(
        self, path: str, document: Json | None = None, caller: Caller | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """The status, the headers and the body; status 0 where there is no answer."""
        sent: list[Any] = []
        body = json.dumps(document).encode()
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        method = "GET" if document is None else "POST"
        scope = {"type": "http", "method": method, "path": path, "headers": raw, "query_string": b""}
        await self._app(scope | {"extensions": {EXTENSION: caller or Caller()}}, receive, send)
        if not sent:
            return 0, {}, b""
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])

    async def infer(self, value: float, caller: Caller | None = None, headers: Any = None, **parameters: Any) -> Any:
        x = tensor("trips", "INT64", [1], [value])
        return await self.send(
            "/v2/models/loop/infer", {"inputs": [x], "parameters": parameters}, caller, **(headers or {})
        )


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"onnicorn_{name}", labels) or 0


def while_busy(
    tmp_path: Path, cache_dir: Path, scenario: Callable[[Client], Coroutine[Any, Any, None]], **admission: Any
) -> None:
    """Run it while a request runs that ends when its caller leaves."""
    models = tiny.repository(tmp_path / "models", loop=tiny.loop(), small=tiny.loop())
    (models / "loop" / "model.toml").write_text('fallback = "small"\n')
    app = create_app(Settings(repository={"path": models}, cache={"dir": cache_dir}, admission=admission))

    async def run() -> None:
        async with asyncio.timeout(SECONDS), app.router.lifespan_context(app):
            client, caller = Client(app), Caller()
            running = asyncio.create_task(client.infer(ENDLESS, caller))
            await until(lambda: metric("inference_pending", model="loop") == 1)
            try:
                await scenario(client)
            finally:
                caller.leave()
                assert await running == (0, {}, b"")
            assert metric("inference_pending", model="loop") == 0

    asyncio.run(run())


@pytest.mark.parametrize("status", [503, 429])
def test_what_cannot_run_at_once_is_refused_where_nothing_may_wait(
    tmp_path: Path, cache_dir: Path, status: int
) -> None:
    async def scenario(client: Client) -> None:
        before = metric("refused_total", reason="waiting")
        got, headers, body = await client.infer(1)
        assert (got, int(headers["retry-after"]) >= 1, json.loads(body)["code"]) == (status, True, "overloaded")
        assert json.loads(body)["error"].endswith("nothing was run, the request may be sent again")
        assert metric("refused_total", reason="waiting") == before + 1
        for path in ("/v2", "/v2/health/live", "/v2/models/loop", "/metrics"):
            assert (await client.send(path))[0] == 200

    while_busy(tmp_path, cache_dir, scenario, max_waiting=0, overload_status=status)


def test_refusals_just_before_the_end_are_counted(tmp_path: Path, cache_dir: Path) -> None:
    class Long(Arrivals):
        wait = 60.0  # seconds

    models = tiny.repository(tmp_path / "models", double=tiny.double())
    app = create_app(Settings(repository={"path": models}, cache={"dir": cache_dir}))

    async def run() -> None:
        async with app.router.lifespan_context(app) as state:
            loop = asyncio.get_running_loop()
            now = loop.time()
            loop.time = lambda: now  # type: ignore[method-assign]  # no timer comes to its end
            gate: Any = state[STATE]  # type: ignore[index]
            gate.arrivals = Long()
            assert gate.refuse(b"POST", b"/v2/models/double/infer", [], lambda: 0.0) is not None

    before = metric("refused_total", reason="wait")
    asyncio.run(run())
    assert metric("refused_total", reason="wait") == before + 1


def test_a_smaller_model_answers_whoever_allows_it(tmp_path: Path, cache_dir: Path) -> None:
    async def scenario(client: Client) -> None:
        status, headers, body = await client.infer(7, allow_fallback=True)
        answer = json.loads(body)
        assert (status, answer["model_name"], answer["parameters"]) == (200, "small", {"fallback_for": "loop"})
        assert answer["outputs"] == [tensor("turned", "INT64", [1], [7])]
        assert [part.split(";")[0] for part in headers["server-timing"].split(", ")] == [
            "decode",
            "queue",
            "run",
            "encode",
        ]
        assert (await client.infer(7, allow_fallback=False))[0] == 503

    while_busy(tmp_path, cache_dir, scenario, max_waiting=0)


def test_where_the_smaller_model_can_do_no_more_either_the_first_refusal_stands(
    tmp_path: Path, cache_dir: Path
) -> None:
    async def scenario(client: Client) -> None:
        caller = Caller()
        running = asyncio.create_task(client.infer(ENDLESS, caller, allow_fallback=True))
        await until(lambda: metric("inference_pending", model="small") == 1)
        status, _, body = await client.infer(7, allow_fallback=True)
        assert (status, json.loads(body)["error"][:12]) == (503, "model 'loop'")
        caller.leave()
        assert await running == (0, {}, b"")

    while_busy(tmp_path, cache_dir, scenario, max_waiting=0)


@pytest.mark.parametrize(
    ("headers", "parameters"),
    [
        ({"x_request_timeout_ms": "20"}, {}),
        ({"grpc_timeout": "20m"}, {}),
        ({"x_envoy_expected_rq_timeout_ms": "20"}, {}),
        ({}, {"timeout": 20_000}),
        ({"x_request_timeout_ms": "90000"}, {"timeout": 20_000}),
        ({"x_request_timeout_ms": "20"}, {"timeout": 90_000_000}),
    ],
)
def test_whose_time_passes_is_told_where(
    tmp_path: Path, cache_dir: Path, headers: dict[str, str], parameters: dict[str, int]
) -> None:
    """On a service that has nothing else to do as well as on a busy one."""

    async def scenario(client: Client) -> None:
        status, _, body = await client.infer(1, None, headers, **parameters)
        told = json.loads(body)
        assert (status, told["code"]) in ((504, "deadline_exceeded"), (503, "overloaded"))
        assert status == 503 or told["error"].startswith("the request's timeout of 20 ms passed in stage ")

    while_busy(tmp_path, cache_dir, scenario)


def test_a_caller_that_leaves_is_counted_by_its_stage(tmp_path: Path, cache_dir: Path) -> None:
    before = [metric("cancelled_total", stage=stage) for stage in ("queue", "run")]

    async def scenario(client: Client) -> None:
        caller = Caller()
        waiting = asyncio.create_task(client.infer(1, caller))
        await until(lambda: metric("inference_pending", model="loop") == 2)
        caller.leave()
        assert await waiting == (0, {}, b"")

    while_busy(tmp_path, cache_dir, scenario)
    after = [metric("cancelled_total", stage=stage) for stage in ("queue", "run")]
    assert after == [count + 1 for count in before]
