"""Bytes that are nearly HTTP, over sockets, to a service as in production: it goes on, with the workers that it had."""

import random
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Final

import pytest

from tests.fuzz.conftest import Rounds
from tests.fuzz.mutation import mutate
from tests.fuzz.test_app import ALLOWED, LONG, SEEDS, some_request
from tests.process.conftest import Service, connect, running
from tests.process.double import BODY, INFER, doubled, serve_double
from tests.process.wire import request

# What is no answer to the content of a request: 408 for what never ends, 503 for one too many, 504 for one too late.
EXPECTED: Final = ALLOWED | {100, 408, 431, 503, 504}
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Z]")
_SPICES: Final = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b":", b"HTTP/1.1", b"HTTP/9.9", b"\xff", b"\x16\x03\x01"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Connection: close\r\n"),
    *(
        b"ffffffffffffffff\r\n",
        b"0\r\n\r\n",
        b"Host:\r\n",
        b"X: " + LONG + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    repository = serve_double(tmp_path_factory.mktemp("double"))
    with running(repository, tmp_path_factory.mktemp("service"), ONNICORN_HTTP__MAX_BODY_BYTES="65536") as service:
        yield service


def some_bytes(chance: random.Random) -> bytes:
    """A few requests in a row, whole or chunked, and then, more often than not, what has come over them."""
    data = b"".join(_one(chance) for _ in range(chance.choice((1, 1, 1, 2, 5))))
    if chance.random() < 0.4:
        return data
    for _ in range(chance.randrange(3)):
        place = chance.randrange(len(data) + 1)
        data = data[:place] + chance.choice(_SPICES) + data[place:]
    return mutate(chance, data, SEEDS, most=2)


def _one(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return request("POST", INFER, BODY)
    asked = some_request(chance)
    path = asked.path.encode("utf-8", "replace").decode("latin-1")
    head = f"{asked.method} {path} HTTP/1.1\r\nHost: here\r\n".encode("latin-1")
    head += b"".join(name + b": " + value + b"\r\n" for name, value in asked.headers)
    if chance.random() < 0.2:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(asked.body), asked.body)
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(asked.body), asked.body)


def answers(connection: socket.socket) -> bytes:
    """All that comes soon; whoever waits for more than was sent gets nothing, and is not waited for."""
    got = b""
    connection.settimeout(0.05)
    with suppress(OSError):
        while piece := connection.recv(1 << 16):
            got += piece
    return got


def converse(service: Service, chance: random.Random) -> bytes:
    """Several connections at once, their bytes in turns; some end in the middle, some only close their own side."""
    got = b""
    with ExitStack() as stack:
        talks = [(stack.enter_context(connect(service.api)), some_bytes(chance)) for _ in range(4)]
        for part in range(2):
            for connection, data in talks:
                edge = len(data) // 2
                with suppress(OSError):
                    connection.sendall(data[edge:] if part else data[:edge])
        for connection, _ in talks:
            if chance.random() < 0.1:
                continue
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            got += answers(connection)
    return got


def test_whatever_comes_over_a_socket_the_service_goes_on(service: Service, rounds: Rounds) -> None:
    workers, seen = service.workers(), Counter[int]()
    for chance in rounds("rounds of four connections", 60):
        got = converse(service, chance)
        statuses = [int(status) for status in _STATUS.findall(got)]
        assert set(statuses) <= EXPECTED, got
        seen.update(statuses)
        assert doubled(service) == [2.0] * 4
    assert service.workers() == workers
    assert {200, 400, 404} <= seen.keys()
    assert [record for record in service.records() if record["level"] in ("error", "critical")] == []
