"""Callers that leave: what they asked for is not done any more, and whoever only closes their own side is answered."""

import json
import socket
import struct
from pathlib import Path

import pytest

from tests import tiny
from tests.oip import Json, tensor
from tests.process.conftest import Service, connect, running
from tests.process.test_metrics import scraped, series
from tests.process.wire import request, wire

ENDLESS = 10**15
LOOP = "/v2/models/loop/infer"


def trips(count: int, *headers: str, version: str = "1.1") -> bytes:
    document = {"inputs": [tensor("trips", "INT64", [1], [count])]}
    return request("POST", LOOP, json.dumps(document).encode(), *headers, version=version)


def one_worker(folder: Path) -> Path:
    root = tiny.repository(folder / "models", loop=tiny.loop())
    (root / "loop" / "model.toml").write_text("inline = false\n")
    return root


def left(service: Service, stage: str) -> float:
    return scraped(service.ops).get(series("cancelled_total", stage=stage), 0)


def pending(service: Service) -> float:
    return scraped(service.ops)[series("inference_pending", model="loop")]


# How a socket is closed with a reset in place of a FIN.
RESET = struct.pack("ii", 1, 0)


def logged(service: Service) -> list[Json]:
    return [record for record in service.requests() if record["status"] == 499]


@pytest.mark.parametrize(("version", "resets"), [("1.1", False), ("1.1", True), ("1.0", True)])
def test_the_run_of_a_caller_who_has_left_is_ended_and_the_next_one_runs(
    tmp_path: Path, version: str, resets: bool
) -> None:
    """With a FIN, which says no more than that nothing more will be sent, it takes a moment."""
    with running(one_worker(tmp_path), tmp_path, ONNICORN_RUNTIME__WORKERS="1") as service:
        with wire(service.api) as waiting:
            with connect(service.api) as endless, connect(service.api) as queued:
                for leaving in (endless, queued) if resets else ():
                    leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                endless.sendall(trips(ENDLESS, version=version))
                service.wait_until(lambda: pending(service) == 1, "running")
                queued.sendall(trips(ENDLESS, "Connection: keep-alive", version=version))
                service.wait_until(lambda: pending(service) == 2, "queueing")
                waiting.send(trips(3))
                service.wait_until(lambda: pending(service) == 3, "queueing another")
            assert waiting.answer().json()["outputs"][0]["data"] == [3]
        service.wait_until(lambda: left(service, "queue") + left(service, "run") == 2, "rid of both")
        assert pending(service) == 0
        service.wait_until(lambda: len(logged(service)) == 2, "logging both")
        lines = logged(service)
    assert {line["left"] for line in lines} in ({"queue", "run"}, {"run"})  # the second may have begun to run


def test_a_caller_who_has_closed_their_own_side_is_answered(tmp_path: Path) -> None:
    with running(one_worker(tmp_path), tmp_path, ONNICORN_RUNTIME__WORKERS="1") as service:
        with connect(service.api) as half_closed:
            half_closed.sendall(trips(10**6))
            half_closed.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: half_closed.recv(65536), b""))
        assert b"HTTP/1.1 200 OK\r\n" in answer
        assert b"[1000000]" in answer
        assert left(service, "run") == 0


def test_a_run_ends_with_the_deadline_of_the_only_one_who_waits_for_it(tmp_path: Path) -> None:
    with running(one_worker(tmp_path), tmp_path, ONNICORN_RUNTIME__WORKERS="1") as service, wire(service.api) as caller:
        caller.send(trips(ENDLESS, "X-Request-Timeout-Ms: 300"))
        answer = caller.answer()
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        assert "'run'" in answer.json()["error"]
        caller.send(trips(3))
        assert caller.answer().json()["outputs"][0]["data"] == [3]
