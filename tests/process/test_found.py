"""Found wanting: each of these shows a fault, and moves to the file of its subject once that is repaired."""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.oip import assert_problem
from tests.process.conftest import connect, exit_code, launched, running, wait_until_gone
from tests.process.double import BODY, INFER, TWOS, doubled, golden_sample, serve_double
from tests.process.test_signals import gated, half_a_request, ops_of, verdict
from tests.process.wire import request, wire

UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")


@pytest.mark.parametrize("cut", [0, 10], ids=["the body at once", "the body later"])
def test_a_post_that_offers_http2_is_answered_with_its_body_read(cut: int, tmp_path: Path) -> None:
    """Java's HttpClient and `curl --http2` offer it; who ignores the offer goes on reading HTTP/1.1."""
    whole = request("POST", INFER, BODY, *UPGRADE)
    end = len(whole) - cut
    with running(serve_double(tmp_path), tmp_path) as service, wire(service.api) as connection:
        connection.send(whole[:end], whole[end:])
        answer = connection.answer()
    assert answer.status_code == 200, answer.content
    assert answer.json()["outputs"][0]["data"] == TWOS


def test_what_follows_a_declined_upgrade_in_the_same_packet_is_answered(tmp_path: Path) -> None:
    live = request("GET", "/v2/health/live", None, "Connection: close")
    with running(serve_double(tmp_path), tmp_path) as service, wire(service.api) as connection:
        connection.send(request("GET", "/v2/health/live", None, *UPGRADE) + live)
        assert connection.answer().status_code == 200
        assert connection.answer().status_code == 200


def test_a_client_that_closes_its_side_behind_the_request_gets_its_answer(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service, closing(connect(service.api)) as connection:
        connection.sendall(request("POST", INFER, BODY))
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            assert stream.readline().startswith(b"HTTP/1.1 200 ")


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


def test_a_slash_behind_a_probe_is_another_path(tmp_path: Path) -> None:
    """Answered with a redirect to whatever the Host header says, without our body; the API port has that off."""
    with running(serve_double(tmp_path), tmp_path) as service:
        assert_problem(service.probe("/readyz/"), 404, "not_found", "/readyz/")


def test_a_service_cannot_be_made_a_daemon(tmp_path: Path) -> None:
    """Its run directory is named by the parent that has ended, so that the next start on the host removes it."""
    with launched(serve_double(tmp_path), tmp_path, GUNICORN_CMD_ARGS="--daemon") as service:
        code = exit_code(service)
        critical = [record for record in service.records() if record["level"] == "critical"]
        assert (code > 0, len(critical), service.alive()) == (True, 1, []), service.printed()
        assert "daemon" in critical[0]["reason"]


def test_two_containers_of_one_pod_keep_apart_in_its_shared_memory(tmp_path: Path) -> None:
    """Each master is process 1 of its own container, and /dev/shm belongs to the pod."""
    contained = ("unshare", "--pid", "--fork", "--mount-proc")
    if not shutil.which("unshare") or subprocess.run([*contained, "true"], capture_output=True).returncode:
        pytest.skip("process namespaces cannot be made here")
    repository, run = serve_double(tmp_path), tmp_path / "run"
    run.mkdir()
    with launched(repository, tmp_path / "one", *contained, ONNICORN_RUN__DIR=str(run)) as one:
        one.wait_until(one.is_started, "started")
        (directory,) = run.iterdir()
        with launched(repository, tmp_path / "other", *contained, ONNICORN_RUN__DIR=str(run)) as other:
            other.wait_until(other.is_started, "started")
            assert directory.exists()


def test_a_worker_whose_model_file_has_changed_does_not_take_the_service_with_it(tmp_path: Path) -> None:
    """A successor serves what was checked and prepared, whatever has become of the file meanwhile."""
    repository = serve_double(tmp_path)
    with running(repository, tmp_path) as service:
        (repository / "double" / "1" / "model.onnx").write_bytes(b"half a copy")
        killed = service.workers()[0]
        os.kill(killed, signal.SIGKILL)
        service.wait_until(lambda: service.workers().get(0, killed) != killed, "served by a successor")
        assert [doubled(service) for _ in range(8)] == [TWOS] * 8


def test_a_worker_that_refuses_a_model_at_the_start_says_so_in_one_line(tmp_path: Path) -> None:
    """As the preparation does; here it has passed, and the sample is another one when the worker replays it."""
    with gated(tmp_path) as (service, gate):
        with gate.holding_one(service):
            pass
        service.wait_until(lambda: "0 of 1" in str(verdict(service, "/startupz")), "past the preparation")
        with gate.holding_one(service, golden_sample(2, 2, 2, 3)):
            pass
        assert exit_code(service) > 0
    (critical,) = [record for record in service.records() if record["level"] == "critical"]
    assert "differs by up to 1" in critical["reason"]
    assert "Traceback" not in service.printed()


def test_ops_comes_back_when_it_is_killed(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path) as service:
        ops = ops_of(service)
        os.kill(ops, signal.SIGKILL)
        wait_until_gone(ops)
        service.wait_until(service.is_started, "probed again")
