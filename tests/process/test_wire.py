"""What clients and proxies put on the wire around a request, and what comes back."""

import socket
import struct
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.oip import assert_problem
from tests.process.conftest import Service, StartService, connect, running
from tests.process.double import BODY, INFER, TWOS, serve_double
from tests.process.wire import WireAnswer, request, wire

LIMIT = 65_536


@pytest.fixture(scope="module")
def service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service that takes bodies of `LIMIT` bytes and no more."""
    repository = serve_double(tmp_path_factory.mktemp("double"))
    return start_service(repository, ONNICORN_HTTP__MAX_BODY_BYTES=str(LIMIT))


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def assert_doubled(answer: WireAnswer) -> None:
    assert answer.status_code == 200, answer.content
    assert answer.json()["outputs"][0]["data"] == TWOS


@pytest.mark.parametrize("port", ["api", "ops"])
def test_head_is_answered_like_get_without_the_body(service: Service, port: str) -> None:
    path = {"api": "/v2/health/ready", "ops": "/startupz"}[port]
    with wire(getattr(service, port)) as connection:
        connection.send(request("GET", path))
        got = connection.answer()
        connection.send(request("HEAD", path))
        head = connection.answer(has_body=False)
        # A body, had there been one, would stand in front of this answer.
        connection.send(request("GET", "/nothing", None, "Connection: close"))
        assert connection.answer().status_code == 404
        assert connection.rest() == b""
    assert (got.status_code, head.status_code) == (200, 200)
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert int(head.headers["Content-Length"]) > 0


def test_pipelined_requests_are_answered_in_their_order(service: Service) -> None:
    paths = [INFER, "/v2/health/live", INFER, "/v2/models/nobody/infer", INFER]
    with wire(service.api) as connection:
        connection.send(b"".join(request("GET" if path.endswith("live") else "POST", path, BODY) for path in paths))
        answers = [connection.answer() for _ in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 200]
    assert [answer.json()["outputs"][0]["data"] for answer in answers[::2]] == [TWOS] * 3
    assert answers[1].json() == {"live": True}


@pytest.mark.parametrize("size", [1, 7, 1_000], ids=lambda size: f"{size} bytes a chunk")
def test_a_chunked_body_is_read(service: Service, size: int) -> None:
    edges = [*range(0, len(BODY), size), len(BODY)]
    body = chunked(*(BODY[start:end] for start, end in pairwise(edges)))
    with wire(service.api) as connection:
        connection.send(request("POST", INFER, None, "Transfer-Encoding: chunked"), body)
        assert_doubled(connection.answer())
        connection.send(request("POST", INFER, BODY))
        assert_doubled(connection.answer())


def test_a_chunked_body_cannot_grow_past_the_limit(service: Service) -> None:
    with wire(service.api) as connection:
        connection.send(request("POST", INFER, None, "Transfer-Encoding: chunked"), chunked(b" " * LIMIT, b" "))
        assert_problem(connection.answer(), 413, "request_too_large", str(LIMIT))


def test_a_request_that_arrives_byte_by_byte_is_answered(service: Service) -> None:
    with wire(service.api) as connection:
        connection.send(*(bytes([byte]) for byte in request("POST", INFER, BODY)))
        assert_doubled(connection.answer())


def test_who_expects_100_is_told_to_go_on(service: Service) -> None:
    whole = request("POST", INFER, BODY, "Expect: 100-continue")
    with wire(service.api) as connection:
        connection.send(whole.removesuffix(BODY))
        assert connection.answer(has_body=False).status_code == 100
        connection.send(BODY)
        assert_doubled(connection.answer())


def test_who_expects_100_for_too_large_a_body_is_refused_instead(service: Service) -> None:
    with wire(service.api) as connection:
        connection.send(request("POST", INFER, None, "Expect: 100-continue", f"Content-Length: {LIMIT + 1}"))
        assert_problem(connection.answer(), 413, "request_too_large", str(LIMIT))


def test_http_1_0_is_answered_and_the_connection_closed(service: Service) -> None:
    with wire(service.api) as connection:
        connection.send(request("POST", INFER, BODY, version="1.0"))
        assert_doubled(connection.answer())
        assert connection.rest() == b""


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_an_offer_to_upgrade_is_declined_and_the_request_answered(service: Service, protocol: str) -> None:
    offer = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]
    with wire(service.api) as connection:
        for _ in range(2):
            connection.send(request("GET", "/v2/health/live", None, *offer))
            answer = connection.answer()
            assert (answer.status_code, answer.json()) == (200, {"live": True})


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        bytes(range(128, 256)),
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(32),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request("POST", INFER, None, "Transfer-Encoding: chunked") + b"zz\r\n",
        request("POST", INFER, None, "Content-Length: 5", "Content-Length: 6") + b"abcdef",
        request("POST", INFER, None, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ],
    ids=["words", "high bytes", "TLS", "HTTP/2", "a broken chunk", "two lengths", "a length and chunks"],
)
def test_what_is_no_request_is_a_problem_and_ends_the_connection(service: Service, garbage: bytes) -> None:
    with wire(service.api) as connection:
        connection.send(garbage)
        answer = connection.answer()
        assert connection.rest() == b""
    assert_problem(answer, 400, "malformed_request", "HTTP/1.1")
    assert answer.headers["Connection"] == "close"


def test_a_client_that_leaves_in_the_middle_of_its_body_does_no_harm(service: Service) -> None:
    with connect(service.api) as connection:
        connection.sendall(request("POST", INFER, BODY)[:-1])
    with connect(service.api) as connection:
        connection.sendall(request("POST", INFER, BODY)[:-1])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with wire(service.api) as connection_after:
        connection_after.send(request("POST", INFER, BODY))
        assert_doubled(connection_after.answer())


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
