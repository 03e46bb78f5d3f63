"""The load generator: what it sends, what it counts, and what becomes of connections that go."""

import itertools
import threading
from collections.abc import Callable
from math import isnan

import pytest

from service.bench.connection import LOST
from service.bench.endpoint import loopback
from service.bench.failures import BenchFailed
from service.bench.load import closed, open_loop
from service.bench.program import free_ports
from service.bench.request import post
from tests.unit.bench.peer import Asked, answer, serving

REQUESTS = [post("/one", b"1"), post("/two", b"22")]


def always(content: bytes) -> Callable[[Asked], bytes]:
    return lambda request: content


def in_turn(*answers: bytes) -> Callable[[Asked], bytes]:
    turns = itertools.cycle(answers)
    lock = threading.Lock()

    def next_one(request: Asked) -> bytes:
        with lock:
            return next(turns)

    return next_one


def test_an_open_loop_sends_as_many_as_its_rate_asks_for() -> None:
    with serving(always(answer(200))) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=400, seconds=0.25, connections=4)
    assert load.statuses == {200: 100}
    assert (load.requests, load.served, load.good, load.late, load.unsent) == (100, 100, 100, 0, 0)
    assert 0 < load.p50 <= load.p90 <= load.p99 <= load.longest
    assert {(each.path, each.body) for each in peer.asked} == {("/one", b"1"), ("/two", b"22")}


def test_what_warms_up_is_sent_and_not_counted() -> None:
    with serving(always(answer(200))) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=400, seconds=0.1, connections=4, warm_up=0.05, nap=5e-5)
    assert (load.statuses, len(peer.asked)) == ({200: 40}, 60)


def test_a_closed_loop_keeps_so_many_under_way_and_counts_nothing_of_its_warm_up() -> None:
    with serving(always(answer(200))) as peer:
        load = closed(peer.endpoint, REQUESTS, concurrency=3, seconds=0.4, warm_up=0.1)
    assert 0 < load.requests < len(peer.asked)
    assert load.statuses == {200: load.requests}
    assert 0 < load.busy <= 1.5


def test_a_closed_loop_that_is_warm_counts_what_is_answered_in_its_time_whenever_it_was_sent() -> None:
    is_over = threading.Event()

    def slowly(request: Asked) -> bytes:
        is_over.wait(0.4)
        return answer(200)

    with serving(slowly) as peer:
        load = closed(peer.endpoint, REQUESTS, concurrency=3, seconds=0.4, warm_up=0.2)
    assert (load.statuses, round(load.seconds, 6), len(peer.asked)) == ({200: 3}, 0.4, 6)


def test_what_an_open_loop_has_done_is_done_in_the_time_that_was_asked_for() -> None:
    with serving(always(answer(200))) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=5, seconds=1, connections=2)  # the last is due after 0.58 s
    assert (load.statuses, round(load.rate, 1)) == ({200: 5}, 5)


def test_a_wait_behind_a_slow_answer_is_counted_from_when_a_request_should_have_been_sent() -> None:
    is_over = threading.Event()
    first = itertools.count()

    def slowly(request: Asked) -> bytes:
        if next(first) == 0:
            is_over.wait(0.3)  # all others are due by then
        return answer(200)

    with serving(slowly) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=1000, seconds=0.1, connections=1)
    assert load.statuses == {200: 100}
    assert load.delayed >= 99
    assert load.p50 >= 0.2


def test_errors_are_counted_by_status_and_have_no_latency() -> None:
    with serving(in_turn(answer(503), answer(200), answer(503), answer(500))) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=400, seconds=0.1, connections=2)
    assert load.statuses == {200: 10, 500: 10, 503: 20}
    assert not isnan(load.p99)


def test_without_a_200_there_are_no_latencies() -> None:
    with serving(always(answer(503))) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=400, seconds=0.1, connections=2)
    assert (load.statuses, load.served) == ({503: 40}, 0)
    assert all(map(isnan, (load.p50, load.p90, load.p99, load.longest)))


def test_a_connection_that_is_closed_in_order_is_opened_again() -> None:
    with serving(in_turn(answer(200), answer(200, None, "Connection: close"))) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=400, seconds=0.1, connections=2)
    assert load.statuses == {200: 40}


def test_a_request_whose_connection_goes_before_its_answer_is_lost_and_not_sent_again() -> None:
    with serving(in_turn(answer(200), b"")) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=400, seconds=0.1, connections=1)
    assert load.statuses == {200: 20, LOST: 20}
    assert len(peer.asked) == 40


def test_an_answer_in_chunks_is_an_answer() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with serving(always(chunks)) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=400, seconds=0.1, connections=2)
    assert load.statuses == {200: 40}


def test_a_request_that_has_waited_until_its_deadline_is_not_sent() -> None:
    is_over = threading.Event()
    first = itertools.count()

    def slowly(request: Asked) -> bytes:
        if next(first) == 0:
            is_over.wait(0.3)
        return answer(200)

    with serving(slowly) as peer:
        load = open_loop(peer.endpoint, REQUESTS, rate=1000, seconds=0.1, connections=1, deadline=0.02)
    assert (load.statuses, load.good, load.late, load.unsent) == ({200: 1}, 0, 1, 99)
    assert load.share(load.unsent) == 0.99


@pytest.mark.parametrize(
    ("answered", "sentence"),
    [
        (b"", "it closes connections without an answer"),
        (b"SSH-2.0-hello\r\n", "what it answers is not HTTP/1.1"),
    ],
)
def test_a_server_that_does_not_answer_ends_it_with_a_sentence(answered: bytes, sentence: str) -> None:
    with serving(always(answered)) as peer, pytest.raises(BenchFailed) as failed:
        open_loop(peer.endpoint, REQUESTS, rate=400, seconds=0.1, connections=1)
    assert str(failed.value).startswith(f"{peer.endpoint}: {sentence}")


def test_a_server_that_is_not_there_ends_it_with_a_sentence() -> None:
    (port,) = free_ports(1)
    with pytest.raises(BenchFailed) as failed:
        closed(loopback(port), REQUESTS, concurrency=2, seconds=0.1)
    assert str(failed.value) == f"127.0.0.1:{port}: no connection can be opened: Connection refused"


def test_more_than_fits_into_memory_is_not_begun() -> None:
    with pytest.raises(BenchFailed, match="10,000,001 requests are more than can be planned at once"):
        open_loop(loopback(1), REQUESTS, rate=10_000_001, seconds=1)
