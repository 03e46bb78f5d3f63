"""A real Prometheus scrapes the real service under mixed traffic: whatever is asked of it has an answer."""

import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2
import pytest

from tests.deploy.prometheus import SHIPPED, Prometheus, watching
from tests.process.conftest import ROOT, Service, client, running
from tests.process.wire import request, wire

INFER = "/v2/models/digits/infer"
GOOD = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}]}
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
RECORDED = re.findall(r"record: (\S+)", (SHIPPED / "rules" / "recording.yml").read_text())
# Outside of Kubernetes there is no namespace, and Grafana, which finds none to choose from, asks for the empty one.
VARIABLES = {"$__rate_interval": "10s", "$namespace": "", "$job": "onnicorn", "$instance": ".*", "$model": ".*"}
NOT_HERE = {
    "Share of the limit": "needs a memory limit in the control group that the tests run in",
}
"""Panels that may be empty, and why."""
LATER = re.compile(r".+:count1[hd]")
"""Rules that look at full minutes, or every fifth one, for which no test waits; `promtool` knows their values."""


def queries(chosen: Mapping[str, str] = VARIABLES) -> Iterator[Any]:
    for panel in DASHBOARD["panels"]:
        for number, target in enumerate(panel.get("targets", [])):
            query = target["expr"]
            for name, value in chosen.items():
                query = query.replace(name, value)
            yield pytest.param(panel["title"], query, id=f"{panel['title']}-{number}".replace(" ", "_"))


@dataclass(frozen=True)
class Watched:
    service: Service
    prometheus: Prometheus


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Traffic flows for as long as anybody looks; there has been a reload, and one worker has been killed."""
    folder = tmp_path_factory.mktemp("live")
    # The least that bodies may take together, in one worker, so that a second large one is too much.
    environment = {"ONNICORN_RUNTIME__WORKERS": "1", "ONNICORN_ADMISSION__MAX_BYTES": str(1 << 20)}
    with (
        running(ROOT / "models", folder, **environment) as service,
        watching(service.ops, folder) as prometheus,
        flowing(service),
    ):
        seen = 'onnicorn_worker_exits_total{reason="killed"}'
        service.wait_until(lambda: prometheus.values(seen) == [0], "scraped")
        service.process.send_signal(signal.SIGHUP)
        os.kill(service.workers()[0], signal.SIGKILL)
        service.wait_until(lambda: prometheus.values(seen) == [1], "seen to have lost a worker")
        yield Watched(service, prometheus)


@contextmanager
def flowing(service: Service) -> Iterator[None]:
    is_over = Event()

    def flow() -> None:
        while not is_over.wait(0.05):
            # A worker is killed under it.
            with suppress(httpx2.TransportError, OSError):
                call(service)

    thread = Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def call(service: Service) -> None:
    """Good requests, wrong ones, one that is too much, one whose client leaves, and one for a model that is not."""
    with client(service.api) as api:
        for _ in range(5):
            api.post(INFER, json=GOOD)
        api.post(INFER, json={"inputs": []})
        with wire(service.api) as holding:
            holding.send(request("POST", INFER, None, "Content-Length: 1000000") + bytes(900_000))
            api.post(INFER, content=bytes(500_000))
        api.post("/v2/models/fantasy/infer", json=GOOD)
        api.get("/v2/models")
    with wire(service.api) as leaving:
        leaving.send(request("POST", INFER, json.dumps(GOOD).encode())[:-10])


@pytest.mark.parametrize(("title", "query"), list(queries()))
def test_a_query_of_the_dashboard_has_data(watched: Watched, title: str, query: str) -> None:
    if title in NOT_HERE:
        watched.prometheus.values(query)  # it can be read, at least
    else:
        watched.service.wait_until(lambda: watched.prometheus.values(query), f"answering {query}")


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_rule_has_data(watched: Watched, name: str) -> None:
    if LATER.fullmatch(name):
        watched.prometheus.values(name)  # it can be read, at least
    else:
        watched.service.wait_until(lambda: watched.prometheus.values(name), f"recording {name}")


def test_refusals_are_errors_and_wrong_requests_are_not(watched: Watched) -> None:
    """One of six that count: five good ones, and one that is refused."""

    def share() -> list[float]:
        return watched.prometheus.values("job:onnicorn_infer_errors:ratio5m > 0.1 < 0.25")

    watched.service.wait_until(share, "counting a sixth as errors")


def test_a_killed_worker_is_told_of(watched: Watched) -> None:
    def told() -> list[str]:
        return watched.prometheus.firing("OnnicornWorkersDie")

    assert watched.service.wait_until(told, "told of") == [f"Workers of {watched.service.ops} die: killed"]


def test_all_rules_can_be_evaluated(watched: Watched) -> None:
    """What the tool cannot know: two series on one side of a comparison, say."""

    def rules() -> list[Any]:
        return [rule for group in watched.prometheus.get("rules")["groups"] for rule in group["rules"]]

    watched.service.wait_until(lambda: all(rule["health"] != "unknown" for rule in rules()), "evaluated")
    assert {rule["name"]: rule.get("lastError") for rule in rules() if rule["health"] != "ok"} == {}


def test_an_instance_has_few_series(watched: Watched) -> None:
    """As prometheus.yml says, and its limit relies on."""
    mine = '{__name__=~"onnicorn_.+", job="onnicorn"}'
    (of_models,) = watched.prometheus.values(f'count({mine[:-1]}, version="1"}})')
    (of_all,) = watched.prometheus.values(f"count({mine})")
    assert (of_models <= 100, of_all - of_models <= 350) == (True, True), (of_models, of_all)


def test_a_query_of_the_dashboard_is_about_one_installation() -> None:
    """Two namespaces have the same job: added up they would be a service that there is not."""
    for _, query in (parameter.values for parameter in queries(VARIABLES | {"$namespace": "shop"})):
        asked = re.findall(r"(?:\w+:)?onnicorn_\w+(?::\w+)?(?:{([^}]*)})?", str(query))
        assert [one for one in asked if not one.startswith('namespace=~"shop", job=~"onnicorn"')] == [], query


def test_the_dashboard_is_what_its_program_makes() -> None:
    from tools import dashboard

    assert Path(dashboard.DASHBOARD).read_text() == dashboard.render(), "run python -m tools.dashboard"
