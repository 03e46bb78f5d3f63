"""The way out under SIGTERM: for as long as the drain lasts, whoever asks is answered and told to go elsewhere."""

import signal
from pathlib import Path

from tests.process.conftest import Service, exit_code, running
from tests.process.double import BODY, INFER, TWOS, serve_double
from tests.process.wire import Wire, request, wire

SECONDS = "2"


def is_draining(service: Service) -> bool:
    return service.probe("/readyz").status_code == 503


def assert_last_answer(connection: Wire) -> None:
    """The right one, and the connection ends behind it with a FIN."""
    answer = connection.answer()
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, TWOS)
    assert answer.headers["Connection"] == "close"
    assert connection.rest() == b""


def test_idle_silent_half_sent_and_new_connections_are_all_answered(tmp_path: Path) -> None:
    whole = request("POST", INFER, BODY)
    with (
        running(serve_double(tmp_path), tmp_path, ONNICORN_LIFECYCLE__DRAIN_SECONDS=SECONDS) as service,
        wire(service.api) as idle,
        wire(service.api) as silent,
        wire(service.api) as half,
    ):
        idle.send(whole)
        assert idle.answer().headers.get("Connection") is None
        half.send(whole[:30])
        service.process.terminate()
        service.wait_until(lambda: is_draining(service), "draining")
        assert service.get("/v2/health/ready").status_code == 503
        assert service.probe("/livez").status_code == 200
        with wire(service.api) as new:
            for connection, rest in ((idle, whole), (silent, whole), (half, whole[30:]), (new, whole)):
                connection.send(rest)
                assert_last_answer(connection)
        assert exit_code(service) == 0


def test_who_says_nothing_is_let_go_with_a_fin(tmp_path: Path) -> None:
    with (
        running(serve_double(tmp_path), tmp_path, ONNICORN_LIFECYCLE__DRAIN_SECONDS="0") as service,
        wire(service.api) as silent,
    ):
        service.process.terminate()
        assert silent.rest() == b""
        assert exit_code(service) == 0


def test_one_worker_that_is_ended_leaves_new_connections_to_its_sibling(tmp_path: Path) -> None:
    with running(serve_double(tmp_path), tmp_path, ONNICORN_LIFECYCLE__DRAIN_SECONDS="1") as service:
        ended = service.workers()[0]
        service.process.send_signal(signal.SIGTTOU)  # one worker less
        service.wait_until(lambda: len(service.workers()) == 1, "served by one worker")
        answers = [service.post(INFER, {"inputs": [double_input()]}) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 8
        assert ended not in service.workers().values()


def double_input() -> dict[str, object]:
    return {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}
