"""How a service ends, and what its probes say while its processes are in trouble."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.oip import Json, assert_problem
from tests.process.conftest import Service, exit_code, launched, running, wait_until_gone
from tests.process.double import BODY, INFER, TWOS, doubled, golden_file, half_a_request, serve_double
from tests.process.gate import Gate
from tests.process.wire import request, wire

PROBES = ("/livez", "/startupz", "/readyz")


@contextmanager
def gated(folder: Path, **environment: str) -> Iterator[tuple[Service, Gate]]:
    """One worker, whose models wait at the gate when they are prepared and when the worker loads them."""
    repository = serve_double(folder)
    gate = Gate(golden_file(repository))
    with launched(repository, folder, ONNICORN_RUNTIME__WORKERS="1", **environment) as service:
        yield service, gate


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still while the block runs, as one does that a debugger or a full disk holds."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def verdict(service: Service, path: str) -> tuple[int, list[str]]:
    answer = service.probe(path)
    body: Json = answer.json()
    return answer.status_code, body["reasons"]


def ops_of(service: Service) -> int:
    """The pid of the ops process: the one child of the master that is no worker."""
    (pid,) = set(service.alive()) - {service.process.pid, *service.workers().values()}
    return pid


def assert_ended_cleanly(service: Service) -> None:
    """By itself, with 0, and nothing is left of it: no process, no file, no traceback."""
    assert exit_code(service) == 0, service.printed()
    assert service.alive() == []
    assert list(service.run.iterdir()) == []
    assert "Traceback" not in service.printed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_to_the_master_ends_everything_with_0(number: signal.Signals, tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        assert len(service.alive()) == 4
        service.process.send_signal(number)
        assert_ended_cleanly(service)


def test_ctrl_c_in_a_terminal_ends_everything_with_0(tmp_path: Path) -> None:
    """A terminal sends the signal to every process of the group at once."""
    with running(serve_double(tmp_path), tmp_path) as service:
        os.killpg(service.process.pid, signal.SIGINT)
        assert_ended_cleanly(service)


def test_a_request_that_is_under_way_at_sigterm_is_answered(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service, half_a_request(service) as connection:
        service.process.terminate()
        service.wait_until(lambda: verdict(service, "/readyz")[0] == 503, "ending")
        connection.send(BODY[10:])
        answer = connection.answer()
        assert connection.rest() == b""
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, TWOS)


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service, wire(service.api) as silent, wire(service.api) as idle:
        idle.send(request("POST", INFER, BODY))
        assert idle.answer().status_code == 200
        service.process.terminate()
        assert exit_code(service) == 0
        assert (idle.rest(), silent.rest()) == (b"", b"")


def test_a_request_whose_body_never_comes_does_not_hold_up_a_quick_end(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service, half_a_request(service):
        service.process.send_signal(signal.SIGINT)
        assert exit_code(service) == 0
        assert service.alive() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM to the master", "ctrl-c"])
def test_a_service_that_still_prepares_its_models_ends_at_once(number: signal.Signals, tmp_path: Path) -> None:
    with gated(tmp_path) as (service, gate), gate.holding_one(service):
        if number is signal.SIGINT:
            os.killpg(service.process.pid, number)
        else:
            service.process.send_signal(number)
        assert_ended_cleanly(service)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_service_whose_workers_still_load_their_models_ends_at_once(number: signal.Signals, tmp_path: Path) -> None:
    with gated(tmp_path) as (service, gate):
        with gate.holding_one(service):
            pass
        service.wait_until(lambda: "0 of 1" in str(verdict(service, "/startupz")), "past the preparation")
        with gate.holding_one(service):
            service.process.send_signal(number)
            assert_ended_cleanly(service)


def test_ops_answers_while_models_are_prepared_and_while_workers_start(tmp_path: Path) -> None:
    with gated(tmp_path) as (service, gate):
        with gate.holding_one(service):
            preparing = {path: verdict(service, path) for path in PROBES}
        service.wait_until(lambda: "0 of 1" in str(verdict(service, "/startupz")), "past the preparation")
        with gate.holding_one(service):
            starting = {path: verdict(service, path) for path in PROBES}
        service.wait_until(service.is_started, "started")
        started = {path: verdict(service, path) for path in PROBES}
        service.process.terminate()
        assert exit_code(service) == 0
    waits = (503, ["preparing double"])
    assert preparing == {"/livez": (200, []), "/startupz": waits, "/readyz": waits}
    waits = (503, ["0 of 1 workers are ready", "worker 0 is STARTING"])
    assert starting == {"/livez": (200, []), "/startupz": waits, "/readyz": waits}
    assert started == dict.fromkeys(PROBES, (200, []))


def test_ops_answers_while_every_worker_stands_still(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        one, other = service.workers().values()
        with stopped(one), stopped(other):
            verdicts = {path: verdict(service, path) for path in PROBES}
            metrics = service.probe("/metrics")
        assert doubled(service) == TWOS
    assert verdicts == dict.fromkeys(PROBES, (200, []))
    assert 'onnicorn_workers{state="READY"} 2.0' in metrics.text


def test_a_worker_that_stands_still_for_too_long_is_replaced(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path, ONNICORN_LIFECYCLE__HEARTBEAT_SECONDS="2") as service:
        stuck = service.workers()[0]
        with stopped(stuck):
            service.wait_until(lambda: service.workers().get(0, stuck) != stuck, "served by a new worker")
        assert doubled(service) == TWOS
        (record,) = [record for record in service.records() if record["event"] == "worker_exited"]
    assert (record["worker_pid"], record["reason"]) == (stuck, "aborted")
    assert record["silent_seconds"] > 2


def test_a_service_whose_workers_all_stand_still_for_too_long_is_not_live(tmp_path: Path) -> None:
    """The master, which would replace them, stands still as well."""
    environment = {"ONNICORN_RUNTIME__WORKERS": "1", "ONNICORN_LIFECYCLE__HEARTBEAT_SECONDS": "1"}
    with running(serve_double(tmp_path), tmp_path, **environment) as service:
        (worker,) = service.workers().values()
        with stopped(service.process.pid), stopped(worker):
            service.wait_until(lambda: service.probe("/livez").status_code == 503, "declared dead")
            _, reasons = verdict(service, "/livez")
    assert len(reasons) == 1
    assert reasons[0].startswith("every worker's event loop has been silent for")


def test_ops_leaves_when_the_master_is_killed(tmp_path: Path) -> None:
    with launched(serve_double(tmp_path), tmp_path) as service:
        service.wait_until(service.is_started, "started")
        ops = ops_of(service)
        service.process.kill()
        assert exit_code(service) == -signal.SIGKILL
        wait_until_gone(ops)


def test_what_a_killed_master_left_behind_is_removed_by_the_next_start(tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with launched(repository, tmp_path / "killed") as killed:
        killed.wait_until(killed.is_started, "started")
        killed.process.kill()
        exit_code(killed)
    (left,) = killed.run.iterdir()
    with running(repository, tmp_path / "next", ONNICORN_RUN__DIR=str(killed.run)) as service:
        assert doubled(service) == TWOS
        (own,) = killed.run.iterdir()
        assert own != left
    assert list(killed.run.iterdir()) == []


def test_a_hang_up_of_the_terminal_ends_no_worker(tmp_path: Path) -> None:
    """It reaches the whole group; `post_fork` ignores it, and then the worker's `init_signals` resets it."""
    with running(serve_double(tmp_path), tmp_path) as service:
        before = service.workers()
        for pid in before.values():
            os.kill(pid, signal.SIGHUP)
        assert doubled(service) == TWOS
        assert service.workers() == before


def test_a_quit_of_the_terminal_leaves_ops_to_the_master(tmp_path: Path) -> None:
    """Ctrl-backslash reaches the whole group as Ctrl-C does; the probes are needed until the end."""
    with running(serve_double(tmp_path), tmp_path) as service:
        os.kill(ops_of(service), signal.SIGQUIT)
        assert service.probe("/livez").status_code == 200


def test_a_request_that_a_quick_end_cuts_off_gets_a_problem_and_one_true_line(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service, half_a_request(service) as connection:
        service.process.send_signal(signal.SIGINT)
        answer = connection.answer()
        assert exit_code(service) == 0
    (line,) = service.requests()
    assert answer.headers["Content-Type"] == "application/json"
    assert_problem(answer, answer.status_code, answer.json()["code"])
    assert (line["status"], line["request_id"]) == (answer.status_code, answer.headers["X-Request-ID"])
