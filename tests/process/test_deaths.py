"""Workers that die: what is said and counted, who comes after them, and when the service gives up."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.oip import Json
from tests.process.conftest import Service, exit_code, launched, running, wait_until_gone
from tests.process.double import INFER, TWOS, doubled, serve_double
from tests.process.test_metrics import Series, infer, metric_files, scraped, series
from tests.process.test_signals import gated, verdict
from tests.process.wire import request, wire

WORKERS = 4
KILLS = 32


def exits(service: Service) -> list[Json]:
    return [record for record in service.records() if record["event"] == "worker_exited"]


def critical(service: Service) -> list[str]:
    return [record["reason"] for record in service.records() if record["level"] == "critical"]


def kill_one(service: Service, number: signal.Signals) -> int:
    """And wait until another one has its slot; returns the pid of the dead."""
    pid = service.workers()[0]
    os.kill(pid, number)
    service.wait_until(lambda: service.workers().get(0, pid) != pid, "served by a successor")
    return pid


@pytest.mark.parametrize(
    ("number", "reason", "level"),
    [
        (signal.SIGKILL, "killed", "error"),
        (signal.SIGSEGV, "crashed", "error"),
        (signal.SIGABRT, "aborted", "error"),
        (signal.SIGTERM, "stopped", "info"),
    ],
    ids=lambda value: str(value),
)
def test_an_end_is_told_and_counted_by_its_reason(
    number: signal.Signals, reason: str, level: str, tmp_path: Path
) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        pid = kill_one(service, number)
        (record,) = exits(service)
        counted = scraped(service.ops)
        assert doubled(service) == TWOS
    how = {"exit_code": 0} if reason == "stopped" else {"signal": number.name}
    expected = {"level": level, "worker": 0, "worker_pid": pid, "reason": reason, "generation": 1, **how}
    assert {key: record[key] for key in expected} == expected
    assert record["state"] == ("STOPPED" if reason == "stopped" else "READY")
    assert record["uptime_seconds"] > record["state_seconds"]
    assert {key: counted[key] for key in counted if key[0] == "onnicorn_worker_exits_total" and counted[key]} == {
        series("worker_exits_total", reason=reason): 1
    }


def test_many_deaths_leave_no_series_and_no_file_behind_and_no_counter_goes_backwards(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path, ONNICORN_RUNTIME__WORKERS=str(WORKERS)) as service:
        infer(service, 2 * WORKERS)
        files, shown = metric_files(service), scraped(service.ops).keys()
        before = scraped(service.ops, "counter", "histogram")
        for _ in range(KILLS // WORKERS):
            kill_all(service)
            now = scraped(service.ops, "counter", "histogram")
            assert {key: (was, now.get(key)) for key, was in before.items() if now.get(key, -1) < was} == {}
            before = now
        assert before[series("worker_exits_total", reason="killed")] == KILLS
        assert scraped(service.ops).keys() == shown
        assert metric_files(service) == files
        assert doubled(service) == TWOS


def kill_all(service: Service) -> None:
    killed = set(service.workers().values())
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        living = set(service.workers().values())
        return len(living) == WORKERS and not living & killed

    service.wait_until(replaced, "served by new workers")


def test_workers_that_crash_while_they_load_end_the_start_after_the_third(tmp_path: Path) -> None:
    with gated(tmp_path) as (service, gate):
        with gate.holding_one(service):
            pass
        service.wait_until(lambda: "0 of 1" in str(verdict(service, "/startupz")), "past the preparation")
        for _ in range(3):
            with gate.holding_one(service):
                crash_the_one_that_loads(service)
        assert exit_code(service) == 1
        assert service.alive() == []
    assert [(record["reason"], record["state"]) for record in exits(service)] == [("crashed", "STARTING")] * 3
    (reason,) = critical(service)
    assert "3 workers have died before the service had started" in reason
    assert list(service.run.iterdir()) == []


def crash_the_one_that_loads(service: Service) -> None:
    (row,) = service.probe("/readyz").json()["workers"]
    os.kill(row["pid"], signal.SIGSEGV)
    wait_until_gone(row["pid"])


def crowded(folder: Path, used: int) -> Path:
    """What the kernel says of a container with so much memory in use, of a thousand million bytes."""
    folder.mkdir(exist_ok=True)
    for name, value in {"memory.max": 10**9, "memory.current": used}.items():
        (folder / name).write_text(f"{value}\n")
    return folder


def test_a_worker_that_has_grown_is_replaced_before_memory_runs_out(tmp_path: Path) -> None:
    """In order: its clients lose nothing. The kernel's files are made up, in a mount namespace of the service's own."""
    cgroup = crowded(tmp_path / "cgroup", used=10**6)
    contained = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /sys/fs/cgroup && exec "$@"', str(cgroup))
    if not shutil.which("unshare") or subprocess.run([*contained, "true"], capture_output=True).returncode:
        pytest.skip("mount namespaces cannot be made here")
    with launched(serve_double(tmp_path), tmp_path, *contained) as service:
        service.wait_until(service.is_started, "started")
        before = private_bytes(service)
        with wire(service.api) as connection:
            connection.send(*large_and_unfinished())
            service.wait_until(lambda: has_grown(service, before), "grown")
            crowded(cgroup, used=950 * 10**6)
            service.wait_until(lambda: "worker_recycled" in service.printed(), "recycling a worker")
        service.wait_until(lambda: exits(service), "rid of the largest worker")
        service.wait_until(lambda: len(service.workers()) == 2, "served by a successor")
        assert doubled(service) == TWOS
        counted = scraped(service.ops)[series("worker_exits_total", reason="recycled")]
        service.process.terminate()
        assert exit_code(service) == 0
    (recycled,) = [record for record in service.records() if record["event"] == "worker_recycled"]
    first, *_ = exits(service)
    assert (counted, first["reason"], first["worker_pid"]) == (1, "recycled", recycled["worker_pid"])
    assert recycled["private_bytes"] > recycled["private_bytes_at_first"]
    assert recycled["working_set_bytes"] == 950 * 10**6


def private_bytes(service: Service) -> dict[Series, float]:
    return {key: value for key, value in scraped(service.ops).items() if key[0] == "onnicorn_worker_private_bytes"}


def large_and_unfinished() -> tuple[bytes, bytes]:
    """A request that the worker must hold in memory, and whose end never comes."""
    size = 48 << 20
    head = request("POST", INFER, None, f"Content-Length: {size + 1}", "Content-Type: application/json")
    return head, b" " * size


def has_grown(service: Service, before: dict[Series, float]) -> bool:
    return any(now > 1.3 * before[key] for key, now in private_bytes(service).items())


LOAD_SECONDS = "ONNICORN_LIFECYCLE__LOAD_SECONDS"


def test_a_preparation_that_hangs_ends_the_start_with_a_line_that_names_the_limit(tmp_path: Path) -> None:
    with gated(tmp_path, **{LOAD_SECONDS: "1"}) as (service, _):
        assert exit_code(service) == 1
        assert service.alive() == []
    assert critical(service) == [f"preparing double was not done after 1 s, the limit that {LOAD_SECONDS} sets"]
    assert list(service.run.iterdir()) == []


def test_a_load_that_hangs_ends_the_start_with_a_line_that_names_the_limit(tmp_path: Path) -> None:
    with gated(tmp_path, **{LOAD_SECONDS: "5"}) as (service, gate):
        with gate.holding_one(service):
            pass
        assert exit_code(service) == 1
        assert service.alive() == []
    (reason,) = critical(service)
    assert LOAD_SECONDS in reason
    assert [record["reason"] for record in exits(service)] == ["load_timeout"]
    assert list(service.run.iterdir()) == []


def test_a_successor_whose_load_hangs_is_replaced(tmp_path: Path) -> None:
    with gated(tmp_path, **{LOAD_SECONDS: "5"}) as (service, gate):
        with gate.holding_one(service):
            pass
        service.wait_until(lambda: "0 of 1" in str(verdict(service, "/startupz")), "past the preparation")
        with gate.holding_one(service):
            pass
        service.wait_until(service.is_started, "started")
        os.kill(service.workers()[0], signal.SIGKILL)
        service.wait_until(lambda: len(exits(service)) == 2, "rid of the successor")
        with gate.holding_one(service):
            pass
        service.wait_until(service.workers, "served again")
        assert doubled(service) == TWOS
        service.process.terminate()
        assert exit_code(service) == 0
    assert [record["reason"] for record in exits(service)] == ["killed", "load_timeout", "stopped"]
    assert critical(service) == []
