"""What only a hostile or broken client sends: endless, oversized, slow, or nothing; others are served meanwhile."""

import json
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import chain, repeat
from pathlib import Path

import pytest

from tests.oip import assert_problem, tensor
from tests.process.conftest import Service, StartService, connect
from tests.process.double import BODY, INFER, ROUTE, TWOS, doubled, serve_double
from tests.process.wire import Wire, WireAnswer, request, wire

BODY_LIMIT = 65_536
PIECE = b"x" * 65_536
# How much a worker may grow while a client sends without end: far less than what is sent.
GROWTH = 16 << 20
START_LINE = b"GET /v2/health/live HTTP/1.1\r\nHost: here\r\n"
CHUNKED = request("POST", INFER, None, "Transfer-Encoding: chunked")


@pytest.fixture(scope="module")
def service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """One worker of little patience."""
    return start_service(
        serve_double(tmp_path_factory.mktemp("double")),
        ONNICORN_RUNTIME__WORKERS="1",
        ONNICORN_HTTP__MAX_BODY_BYTES=str(BODY_LIMIT),
        ONNICORN_LIMITS__HEADER_SECONDS="1",
        ONNICORN_LIMITS__BODY_SECONDS="1",
    )


@pytest.fixture(autouse=True)
def others_are_served(service: Service) -> Iterator[None]:
    """By the same worker as before, which has not kept what it was sent."""
    [pid] = service.workers().values()
    before = resident(pid)
    yield
    assert doubled(service) == TWOS
    assert list(service.workers().values()) == [pid]
    assert resident(pid) - before < GROWTH


def resident(pid: int) -> int:
    """The most memory that the process has ever had."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def flood(connection: socket.socket, pieces: Iterable[bytes]) -> WireAnswer:
    """As most clients do: the answer is read when everything has been sent."""
    for piece in pieces:
        connection.sendall(piece)
    return rest_of(connection)


def trickle(connection: socket.socket, pieces: Iterator[bytes]) -> WireAnswer:
    """One piece after another, each some time after the one before, until there is an answer."""
    while not select.select([connection], [], [], 0.1)[0]:
        connection.sendall(next(pieces))
    return rest_of(connection)


def rest_of(connection: socket.socket) -> WireAnswer:
    """The last answer of a connection."""
    with connection.makefile("rb") as stream:
        line = Wire(stream)
        answer = line.answer()
        assert line.rest() == b""
    assert answer.headers["Connection"] == "close"
    return answer


def assert_logged_once(service: Service, answer: WireAnswer, route: str) -> None:
    identity = answer.json()["request_id"]

    def lines() -> list[object]:
        return [line for line in service.requests() if line["request_id"] == identity]

    service.wait_until(lines, "logged")
    [line] = [line for line in service.requests() if line["request_id"] == identity]
    assert (line["status"], line["code"], line["route"]) == (answer.status_code, answer.json()["code"], route)


def header_of(size: int) -> list[bytes]:
    return [START_LINE + b"A: ", *[PIECE] * (size // len(PIECE))]


def fields_of(size: int) -> list[bytes]:
    return [START_LINE, *[b"a: b\r\n" * 10_000] * (size // 60_000)]


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        (header_of(1 << 20), 431, "headers_too_large"),
        (header_of(64 << 20), 431, "headers_too_large"),
        (fields_of(64 << 20), 431, "headers_too_large"),
        ([START_LINE + b"A: b\r\n" * 200 + b"\r\n"], 431, "headers_too_large"),
        ([b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n"], 414, "uri_too_long"),
        ([b"GET /", *[PIECE] * 1024], 414, "uri_too_long"),
    ],
    ids=["1 MB in one", "64 MB in one", "64 MB in many", "200 of them", "a target of 70 kB", "a target of 64 MB"],
)
def test_a_head_that_is_too_large_is_refused(service: Service, pieces: list[bytes], status: int, code: str) -> None:
    with closing(connect(service.api)) as connection:
        answer = flood(connection, pieces)
    assert_problem(answer, status, code)
    assert_logged_once(service, answer, "unmatched")


def test_a_client_that_says_nothing_is_told_nothing(service: Service) -> None:
    with wire(service.api) as connection:
        assert connection.rest() == b""


@pytest.mark.parametrize("begun", [b"G", b"GET /v2/hea", START_LINE, START_LINE + b"A: b"])
def test_a_head_that_stops_is_refused(service: Service, begun: bytes) -> None:
    with closing(connect(service.api)) as connection:
        answer = flood(connection, [begun])
    assert_problem(answer, 408, "request_timeout")
    assert_logged_once(service, answer, "unmatched")


def test_a_head_that_comes_field_by_field_is_refused(service: Service) -> None:
    with closing(connect(service.api)) as connection:
        answer = trickle(connection, chain([START_LINE], repeat(b"A: b\r\n")))
    assert_problem(answer, 408, "request_timeout")


def test_a_body_that_comes_byte_by_byte_is_refused(service: Service) -> None:
    with closing(connect(service.api)) as connection:
        answer = trickle(connection, chain([request("POST", INFER, None, "Content-Length: 1000")], repeat(b" ")))
    assert_problem(answer, 408, "request_timeout")
    assert_logged_once(service, answer, ROUTE)


@pytest.mark.parametrize("head", [request("POST", INFER, None, "Content-Length: 1000"), CHUNKED])
def test_a_body_that_never_comes_is_refused(service: Service, head: bytes) -> None:
    with closing(connect(service.api)) as connection:
        answer = flood(connection, [head])
    assert_problem(answer, 408, "request_timeout")
    assert_logged_once(service, answer, ROUTE)


MEGABYTE = PIECE * 16


@pytest.mark.parametrize(
    "pieces",
    [
        [request("POST", INFER, None, f"Content-Length: {1 << 30}"), *[MEGABYTE] * 1024],
        [CHUNKED, *[b"100000\r\n" + MEGABYTE + b"\r\n"] * 1024, b"0\r\n\r\n"],
    ],
    ids=["with a length", "in chunks"],
)
def test_who_sends_a_gigabyte_can_read_why_not(service: Service, pieces: list[bytes]) -> None:
    with closing(connect(service.api)) as connection:
        answer = flood(connection, pieces)
    assert_problem(answer, 413, "request_too_large", str(BODY_LIMIT))
    assert_logged_once(service, answer, ROUTE)


@pytest.mark.parametrize(
    "pieces",
    [
        [CHUNKED + b"0\r\n", *[b"a: b\r\n" * 10_000] * 1000],
        [CHUNKED + b"0\r\nA: ", *[PIECE] * 1000],
        [CHUNKED + b"1;", *[PIECE] * 1000],
        [CHUNKED, *[b"1;" + PIECE + b"\r\n \r\n"] * 1000],
    ],
    ids=["trailers", "one trailer", "one chunk extension", "chunk extensions"],
)
def test_what_surrounds_a_body_cannot_go_on_without_end(service: Service, pieces: list[bytes]) -> None:
    with closing(connect(service.api)) as connection:
        answer = flood(connection, pieces)
    assert_problem(answer, 431, "headers_too_large")
    assert_logged_once(service, answer, ROUTE)


def test_trailers_do_not_become_headers(service: Service) -> None:
    body = b"%x\r\n%s\r\n0\r\nX-Request-Id: mine\r\nContent-Encoding: gzip\r\n\r\n" % (len(BODY), BODY)
    with wire(service.api) as connection:
        connection.send(CHUNKED, body)
        answer = connection.answer()
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, TWOS)
    assert answer.headers["X-Request-Id"] != "mine"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n ",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_others_may_understand_differently_is_refused(service: Service, head: bytes) -> None:
    with closing(connect(service.api)) as connection:
        assert_problem(flood(connection, [head]), 400, "malformed_request")


def test_a_worker_holds_so_many_connections_and_idle_ones_make_room(
    start_service: StartService, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = start_service(
        serve_double(tmp_path_factory.mktemp("double")),
        ONNICORN_RUNTIME__WORKERS="1",
        ONNICORN_LIMITS__CONNECTIONS="2",
    )
    live = request("GET", "/v2/health/live")
    with wire(small.api) as idle, wire(small.api) as silent:
        idle.send(live)
        assert idle.answer().status_code == 200
        silent.send(live[:10])
        with wire(small.api) as third:
            third.send(live[:10])
            assert idle.rest() == b""
            with closing(connect(small.api)) as fourth:
                answer = rest_of(fourth)
            silent.send(live[10:])
            third.send(live[10:])
            assert [silent.answer().status_code, third.answer().status_code] == [200, 200]
    assert_problem(answer, 503, "overloaded", "2 connections")
    assert answer.headers["Retry-After"] == "1"
    assert_logged_once(small, answer, "unmatched")
    assert 'onnicorn_refused_total{reason="connections"} 1.0' in small.probe("/metrics").text


def test_a_client_that_does_not_read_its_answers_is_cut_off(service: Service) -> None:
    many = json.dumps({"inputs": [tensor("x", "FP32", [8000, 4], [1] * 32_000)]}, separators=(",", ":")).encode()
    with closing(connect(service.api)) as connection, suppress(ConnectionError):
        connection.sendall(request("POST", INFER, many) * 60)
        service.wait_until(
            lambda: [line for line in service.records() if line["event"] == "reader_too_slow"], "tired of its reader"
        )
