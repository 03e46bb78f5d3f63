"""Whatever happens to the processes, those who call are answered."""

import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.process.conftest import Service, exit_code, running, wait_until_gone
from tests.process.double import doubled, serve_double
from tests.process.test_reload import add_version, corrupt, has_committed, reload, reloads
from tests.process.traffic import traffic


def one_more_and_one_less(service: Service) -> None:
    service.process.send_signal(signal.SIGTTIN)
    service.wait_until(lambda: len(service.workers()) == 3, "served by three workers")
    service.process.send_signal(signal.SIGTTOU)
    service.wait_until(lambda: len(service.workers()) == 2, "served by two workers")


def one_after_the_other(service: Service) -> None:
    """Each is asked to leave, as recycling asks it."""
    for slot, pid in service.workers().items():
        os.kill(pid, signal.SIGTERM)
        wait_until_gone(pid)
        service.wait_until(lambda slot=slot: slot in service.workers(), "served by a successor")  # type: ignore[misc]


def a_terminal_is_closed(service: Service) -> None:
    """Every process of the group hears of it; the master takes it for a wish to reload."""
    os.killpg(service.process.pid, signal.SIGHUP)
    service.wait_until(lambda: has_committed(service, 1), "reloaded")


def a_second_master_is_wanted(service: Service) -> None:
    service.process.send_signal(signal.SIGUSR2)
    service.wait_until(
        lambda: [record for record in service.records() if record["event"] == "signal_ignored"], "told of the signal"
    )


def ops_dies(service: Service) -> None:
    (ops,) = set(service.alive()) - {service.process.pid, *service.workers().values()}
    os.kill(ops, signal.SIGKILL)
    wait_until_gone(ops)
    service.wait_until(service.is_started, "probed again")


@pytest.mark.parametrize(
    "event", [one_more_and_one_less, one_after_the_other, a_terminal_is_closed, a_second_master_is_wanted, ops_dies]
)
def test_nobody_who_calls_is_failed(event: Callable[[Service], None], tmp_path: Path) -> None:
    drain = {"ONNICORN_LIFECYCLE__DRAIN_SECONDS": "1"}
    with running(serve_double(tmp_path), tmp_path, **drain) as service, traffic(service) as calls:
        calls.wait_for(2.0)
        event(service)
        calls.wait_for_more()
    assert (calls.failures, calls.factors()) == ([], {2.0})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_workers_that_may_answer_so_many_requests_only_follow_one_another(workers: str, tmp_path: Path) -> None:
    environment = {
        "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "0.5",
        "ONNICORN_RUNTIME__WORKERS": workers,
        "GUNICORN_CMD_ARGS": "--max-requests 50",
    }
    with running(serve_double(tmp_path), tmp_path, **environment) as service:
        first = set(service.workers().values())
        with traffic(service) as calls:
            service.wait_until(
                lambda: (now := set(service.workers().values())) and now.isdisjoint(first), "served by successors"
            )
            calls.wait_for_more()
        assert (calls.failures, calls.factors()) == ([], {2.0})


@contextmanager
def scraped(service: Service):  # type: ignore[no-untyped-def]
    """The API port's metrics, again and again while the block runs; each scrape is answered."""
    is_over, statuses = Event(), set()

    def scrape() -> None:
        while not is_over.is_set():
            statuses.add(service.get("/metrics").status_code)

    threads = [Thread(target=scrape) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert statuses == {200}


def test_reloads_one_after_another_while_the_api_port_is_scraped(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service, traffic(service) as calls, scraped(service):
        for version in range(2, 8):
            add_version(repository, version, float(version + 1))
            reload(service)
            calls.wait_for(version + 1)
        assert calls.failures == []


def test_a_reload_that_was_called_off_leaves_nothing_that_the_next_one_could_take_for_its_own(tmp_path: Path) -> None:
    """Not even where the coordinator dies in between."""
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        corrupt(repository)
        reload(service)
        service.wait_until(lambda: reloads(service) == {"refused": 1.0}, "refused")
        ops_dies(service)
        (repository / "double" / "2" / "model.onnx").unlink()
        (repository / "double" / "2").rmdir()
        add_version(repository, 2, 3.0)
        reload(service)
        service.wait_until(lambda: has_committed(service, 1), "reloaded")
        assert doubled(service) == [3.0] * 4
        assert service.probe("/readyz").json()["generation"] == 3


def test_nobody_serves_on_when_the_master_has_died(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        children = set(service.alive()) - {service.process.pid}
        service.process.kill()
        for pid in children:
            wait_until_gone(pid)
        assert exit_code(service) == -signal.SIGKILL
        assert service.alive() == []
        service.process.returncode = 0  # as this block expects of a service
