"""The numbers are the whole service's, whoever is asked and whoever has died."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as prometheus_families

from tests.oip import assert_problem
from tests.process.conftest import Service, StartService, client, running, wait_until_gone
from tests.process.double import INFER, ONES, ROUTE, doubled, serve_double

SENT = 300
MODEL = {"model": "double", "version": "1"}

Series = tuple[str, frozenset[tuple[str, str]]]
Samples = dict[Series, float]
Parse = Callable[[str], Iterable[Metric]]


def series(name: str, **labels: str) -> Series:
    return f"onnicorn_{name}", frozenset(labels.items())


ANSWERED = series("http_requests_total", route=ROUTE, method="POST", status="200")
INFERRED = series("inference_requests_total", **MODEL, outcome="ok")
NEVER_SCRAPED = {
    f"onnicorn_inference_{name}"
    for name in ("request_seconds_total", "batches_total", "batch_seconds_total", "last_run_seconds")
}
STAGES = ("decode_seconds", "queue_seconds", "run_seconds", "encode_seconds", "batch_rows")
OBSERVED = [
    series("http_request_duration_seconds_count", route=ROUTE, outcome="ok"),
    *(series(f"inference_{stage}_count", **MODEL) for stage in STAGES),
]


def samples(text: str, *kinds: str, parse: Parse = prometheus_families) -> Samples:
    """The families of these kinds (all, if none is given) as one mapping."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        if not kinds or family.type in kinds
        for sample in family.samples
    }


def scrape(address: str) -> httpx2.Response:
    with client(address) as port:
        answer = port.get("/metrics")
    assert answer.status_code == 200, answer.content
    return answer


def scraped(address: str, *kinds: str) -> Samples:
    return samples(scrape(address).text, *kinds)


def infer(service: Service, count: int) -> set[int]:
    """Send so many requests over connections of every worker; return the pids that have answered and logged them."""
    before = len(service.requests())
    workers = set(service.workers().values())
    with ExitStack() as stack:
        clients: list[httpx2.Client] = []
        for number in range(count):
            if set(pids(service, before)) != workers:
                clients.append(stack.enter_context(client(service.api)))
                assert clients[-1].post(INFER, json=ONES).status_code == 200
                service.wait_until(lambda: len(pids(service, before)) == len(clients), "logged")
            else:
                assert clients[number % len(clients)].post(INFER, json=ONES).status_code == 200
    # Counted before it is logged.
    service.wait_until(lambda: len(pids(service, before)) == count, "logged")
    return set(pids(service, before))


def pids(service: Service, before: int) -> list[int]:
    """Who has answered the requests since then."""
    return [record["pid"] for record in service.requests()[before:] if record["route"] == ROUTE]


def test_every_scrape_of_either_port_counts_what_all_workers_have_done(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        assert infer(service, SENT) == set(service.workers().values())
        for _ in range(10):
            for address in (service.api, service.ops):
                got = scraped(address)
                assert {key: got[key] for key in (ANSWERED, INFERRED, *OBSERVED)} == dict.fromkeys(
                    (ANSWERED, INFERRED, *OBSERVED), SENT
                )
                assert got[series("inference_batch_rows_sum", **MODEL)] == SENT
                assert got[series("inference_pending", model="double")] == 0
                assert [name for name, _ in got if name in NEVER_SCRAPED] == []


@pytest.fixture(scope="module")
def service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """For whoever does not count."""
    started = start_service(serve_double(tmp_path_factory.mktemp("double")))
    doubled(started)
    return started


@pytest.mark.parametrize("port", ["api", "ops"])
def test_openmetrics_come_to_who_asks_for_them(service: Service, port: str) -> None:
    with client(getattr(service, port)) as asked:
        plain = asked.get("/metrics")
        openmetrics = asked.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")
    got = samples(openmetrics.text, parse=openmetrics_families)
    assert got[INFERRED] == 1
    assert got.keys() >= samples(plain.text).keys()


def test_every_family_has_its_help_and_its_type(service: Service) -> None:
    families = list(prometheus_families(scrape(service.ops).text))
    assert [family.name for family in families if not family.name.startswith("onnicorn_")] == []
    assert [family.name for family in families if not family.documentation or family.type == "unknown"] == []
    assert len({family.name for family in families}) == len(families)


def test_what_a_caller_makes_up_never_becomes_a_label(service: Service) -> None:
    with client(service.api) as api:
        for path in ("/v2/models/fantasy/infer", "/v2/models/double/versions/4711/infer", "/fantasy"):
            assert api.post(path, json=ONES).status_code == 404
        assert api.get("/v2/models/fantasy").status_code == 404
        assert api.request("FANTASY", INFER, headers={"X-Request-ID": "fantasy"}).status_code in (400, 405)
    got = scraped(service.ops)
    values = {value for _, labels in got for _, value in labels}
    assert [value for value in values if "fantasy" in value.lower() or "4711" in value] == []
    assert series("http_requests_total", route="unmatched", method="POST", status="404") in got


def test_metrics_can_be_taken_off_the_api_port(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path, ONNICORN_HTTP__METRICS="false") as service:
        doubled(service)
        assert_problem(service.get("/metrics"), 404, "not_found")
        assert "/metrics" not in service.get("/openapi.json").json()["paths"]
        assert INFERRED in scraped(service.ops)


def test_counters_survive_killed_workers_and_their_slots_and_files_are_used_again(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        infer(service, 20)
        files = metric_files(service)
        before = scraped(service.ops, "counter", "histogram")
        for killed in range(1, 4):
            kill_a_worker(service, slot=killed % 2)
            infer(service, 20)
            now = scraped(service.ops, "counter", "histogram")
            assert {key: (was, now.get(key)) for key, was in before.items() if now.get(key, -1) < was} == {}
            assert (now[INFERRED], now[ANSWERED]) == (20 + 20 * killed, 20 + 20 * killed)
            assert now[series("worker_exits_total", reason="killed")] == killed
            assert metric_files(service) >= files
            before = now
        owners = {name.removesuffix(".db").rpartition("_")[2] for name in metric_files(service)}
    assert owners <= {"master", "ops", "worker-0", "worker-1"}


def kill_a_worker(service: Service, slot: int) -> None:
    """And wait until another one has its slot; the service is ready all the while."""
    pid = service.workers()[slot]
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)

    def replaced() -> bool:
        assert service.probe("/readyz").status_code == 200
        workers = service.workers()
        return len(workers) == 2 and workers[slot] != pid

    service.wait_until(replaced, "served by a new worker")
    assert sorted(service.workers()) == [0, 1]


def metric_files(service: Service) -> set[str]:
    return {file.name for file in service.run.glob("*/*.db")}


def test_two_services_with_one_run_directory_keep_apart(tmp_path: Path) -> None:
    repository, run = serve_double(tmp_path), tmp_path / "run"
    run.mkdir()
    with running(repository, tmp_path / "one", ONNICORN_RUN__DIR=str(run)) as one:
        infer(one, 20)
        (own,) = run.iterdir()
        with running(repository, tmp_path / "other", ONNICORN_RUN__DIR=str(run)) as other:
            infer(other, 30)
            assert (scraped(one.ops)[INFERRED], scraped(other.ops)[INFERRED]) == (20, 30)
            assert len(list(run.iterdir())) == 2
        assert list(run.iterdir()) == [own]
        infer(one, 20)
        assert scraped(one.ops)[INFERRED] == 40
    assert list(run.iterdir()) == []
