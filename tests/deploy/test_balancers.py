"""Behind a real balancer: what was not run is sent again, what may have been run is not, and a drain loses nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import httpx2
import pytest

from tests.deploy.balancers import Balancer, Instance, haproxy, nginx
from tests.process.conftest import SECONDS, client, exit_code, free_addresses, running
from tests.process.double import INFER, ONES, doubled, serve_double
from tests.process.traffic import traffic
from tests.process.wire import wire

BOTH = pytest.mark.parametrize("balancer", [haproxy, nginx])
TOO_LARGE = f"POST {INFER} HTTP/1.1\r\nHost: here\r\nContent-Length: {(64 << 20) + 1}\r\n\r\n".encode()
OVERLOADED = b'{"code": "overloaded"}'
CALLERS = 12


class Instances(ThreadingHTTPServer):
    """A stand-in for an instance: always ready, and it answers every request in the same way.

    `status` 0 is a connection that breaks once the request has been read. None is answered before `together` are there.
    """

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.requests = 0
        self.together = Barrier(1)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Instances

    def do_GET(self) -> None:
        self._answer(200, b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        self.server.together.wait(SECONDS)
        if self.server.status:
            self._answer(self.server.status, OVERLOADED)
        else:
            self.close_connection = True

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def standing_in(*statuses: int) -> Iterator[list[Instances]]:
    with ExitStack() as stack:
        instances = [stack.enter_context(Instances(status)) for status in statuses]
        threads = [Thread(target=instance.serve_forever, args=(0.01,)) for instance in instances]
        for thread in threads:
            thread.start()
        try:
            yield instances
        finally:
            for instance in instances:
                instance.shutdown()
            for thread in threads:
                thread.join()


def addresses(instances: list[Instances]) -> list[Instance]:
    return [(instance.address, instance.address) for instance in instances]


def posts(address: str, count: int) -> list[httpx2.Response]:
    with client(address) as balanced:
        return [balanced.post(INFER, json=ONES) for _ in range(count)]


@BOTH
def test_what_was_refused_as_overloaded_is_sent_to_another_instance(balancer: Balancer, tmp_path: Path) -> None:
    with standing_in(503, 200) as instances, balancer(addresses(instances), tmp_path) as address:
        assert [answer.status_code for answer in posts(address, 4)] == [200] * 4
        refused, answered = (instance.requests for instance in instances)
    assert (refused > 0, answered) == (True, 4)


@BOTH
def test_who_refuses_at_once_has_the_least_to_do_and_is_not_asked_again_for_that(
    balancer: Balancer, tmp_path: Path
) -> None:
    with standing_in(503, 200) as instances, balancer(addresses(instances), tmp_path) as address:
        instances[1].together = Barrier(CALLERS)
        with ThreadPoolExecutor(CALLERS) as callers:
            answers = list(callers.map(lambda _: posts(address, 1)[0].status_code, range(CALLERS)))
    assert answers == [200] * CALLERS


@BOTH
def test_where_all_refuse_the_last_refusal_comes_as_it_is(balancer: Balancer, tmp_path: Path) -> None:
    with standing_in(503, 503) as instances, balancer(addresses(instances), tmp_path) as address:
        (answer,) = posts(address, 1)
        assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (503, "7", OVERLOADED)
        assert 2 <= sum(instance.requests for instance in instances) <= 3


@BOTH
@pytest.mark.parametrize("status", [500, 504])
def test_what_failed_is_not_sent_again(balancer: Balancer, status: int, tmp_path: Path) -> None:
    with standing_in(status, status) as instances, balancer(addresses(instances), tmp_path) as address:
        (answer,) = posts(address, 1)
        assert (answer.status_code, answer.content) == (status, OVERLOADED)
        assert sum(instance.requests for instance in instances) == 1


@BOTH
def test_what_an_instance_has_read_is_not_sent_again_when_its_connection_breaks(
    balancer: Balancer, tmp_path: Path
) -> None:
    with standing_in(0, 0) as instances, balancer(addresses(instances), tmp_path) as address:
        (answer,) = posts(address, 1)
        assert answer.status_code == 502
        assert sum(instance.requests for instance in instances) == 1


@BOTH
def test_who_cannot_be_reached_costs_no_request(balancer: Balancer, tmp_path: Path) -> None:
    with standing_in(200) as instances:
        nobody, _ = free_addresses()
        # Ready, as far as the balancer knows: the time between an instance's end and the next check.
        ready = [*addresses(instances), (nobody, instances[0].address)]
        with balancer(ready, tmp_path) as address:
            assert [answer.status_code for answer in posts(address, 6)] == [200] * 6


@BOTH
def test_a_body_that_the_service_would_not_take_is_refused_at_the_door(balancer: Balancer, tmp_path: Path) -> None:
    with standing_in(200, 200) as instances, balancer(addresses(instances), tmp_path) as address:
        with wire(address) as connection:
            connection.send(TOO_LARGE, bytes(64 << 10))
            assert connection.answer().status_code == 413
        assert sum(instance.requests for instance in instances) == 0


@BOTH
def test_an_instance_that_is_drained_under_load_loses_nothing(balancer: Balancer, tmp_path: Path) -> None:
    repository = serve_double(tmp_path)
    with (
        # The default, which the checks' intervals fit.
        running(repository, tmp_path / "one", ONNICORN_LIFECYCLE__DRAIN_SECONDS="5") as one,
        running(repository, tmp_path / "two") as two,
        balancer([(one.api, one.ops), (two.api, two.ops)], tmp_path) as address,
    ):
        behind = replace(two, api=address)
        assert doubled(behind) == [2.0, 2.0, 2.0, 2.0]
        with traffic(behind) as calls:
            calls.wait_for_more()
            one.process.terminate()
            assert exit_code(one) == 0
            calls.wait_for_more()
        assert calls.failures == []
        # Both had a part in it.
        assert [service.requests() != [] for service in (one, two)] == [True, True]
