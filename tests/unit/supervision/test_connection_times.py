"""How long each part of a request may take, with the time in the test's hands: one look after another."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from structlog.typing import EventDict

from service.caller import caller_of
from service.errors import OnnicornError
from service.knobs import Limits
from service.supervision.crowd import INTERVAL
from tests.unit.loop import turns
from tests.unit.supervision.test_connection import ANSWER, GET, KEEP_ALIVE, REQUEST, Line, Transport
from tests.unit.supervision.test_connection_limits import status_and_code

HEAD, BODY = 4, 6
RATE = 10
LIMITS = Limits(header_seconds=HEAD, body_seconds=BODY, body_bytes_per_second=RATE)
POST = b"POST /here HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n"
TIMEOUT = (408, "request_timeout")


def play(scenario: Callable[[Line], Coroutine[Any, Any, None]], limits: Limits = LIMITS) -> None:
    async def run() -> None:
        line = Line(limits=limits, accounts=True)
        await line.let_pass(3)  # nothing is measured from the beginning of the world
        line.connection._since = line.crowd.now
        await scenario(line)
        line.lose()

    asyncio.run(run())


def read_later(line: Line) -> None:
    """The app does not ask for the body before it may answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await line.may_answer.wait()
        await line._app(scope, receive, send)

    line.connection.app = app
    line.may_answer.clear()


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n"])
def test_who_asks_nothing_is_told_nothing(sent: bytes, records: list[EventDict]) -> None:
    async def scenario(line: Line) -> None:
        await line.receive(sent)
        assert await line.let_pass(HEAD) == b""
        assert line.end == ""
        assert await line.let_pass(INTERVAL) == b""
        assert line.end == "closed"

    play(scenario)
    assert records == []


@pytest.mark.parametrize("earlier", [b"", REQUEST])
@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_head_has_its_time_from_its_first_byte(earlier: bytes, cut: int, records: list[EventDict]) -> None:
    async def scenario(line: Line) -> None:
        await line.receive(earlier)
        await line.let_pass(3)
        await line.receive(GET[:cut])
        assert await line.let_pass(HEAD) == b""
        assert status_and_code(await line.let_pass(INTERVAL)) == TIMEOUT
        assert line.end == "said goodbye"

    play(scenario)
    assert [record["status"] for record in records] == [200, 408][not earlier :]


def test_a_head_that_drips_in_has_no_more_time_than_another() -> None:
    async def scenario(line: Line) -> None:
        await line.receive(GET[:-2])
        for _ in range(HEAD):
            assert await line.receive(b"A: b\r\n") == b""
            assert await line.let_pass(1) == b""
        assert status_and_code(await line.let_pass(INTERVAL)) == TIMEOUT

    play(scenario)


def test_a_head_that_waits_behind_an_answer_has_its_time_from_the_end_of_that() -> None:
    async def scenario(line: Line) -> None:
        line.may_answer.clear()
        await line.receive(REQUEST + GET[:9])
        assert await line.let_pass(100) == b""
        assert (await line.answer()).startswith(b"HTTP/1.1 200 ")
        assert await line.let_pass(HEAD) == b""
        assert status_and_code(await line.let_pass(INTERVAL)) == TIMEOUT

    play(scenario)


def test_an_idle_connection_is_kept_for_so_long(records: list[EventDict]) -> None:
    async def scenario(line: Line) -> None:
        await line.receive(REQUEST)
        await line.let_pass(KEEP_ALIVE - 1)
        await line.receive(REQUEST)
        assert await line.let_pass(KEEP_ALIVE) == b""
        assert line.end == ""
        assert await line.let_pass(INTERVAL) == b""
        assert line.end == "closed"

    play(scenario)
    assert [record["status"] for record in records] == [200, 200]


def test_an_answer_may_take_as_long_as_it_takes() -> None:
    async def scenario(line: Line) -> None:
        line.may_answer.clear()
        await line.receive(REQUEST)
        assert await line.let_pass(1000) == b""
        assert line.end == ""
        assert (await line.answer()).startswith(b"HTTP/1.1 200 ")

    play(scenario)


def test_a_body_that_does_not_come_fails_its_request_once(records: list[EventDict]) -> None:
    async def scenario(line: Line) -> None:
        await line.receive(POST + b"\r\n")
        assert await line.let_pass(BODY) == b""
        assert status_and_code(await line.let_pass(INTERVAL)) == TIMEOUT
        assert line.end == "said goodbye"
        assert line.state.tasks == set()

    play(scenario)
    assert [(record["method"], record["status"], record["code"]) for record in records] == [("POST", *TIMEOUT)]


def test_a_body_must_come_at_its_rate_in_each_stretch_of_time() -> None:
    """What came fast at first lies in memory while the rest does not come."""

    async def scenario(line: Line) -> None:
        await line.receive(POST + b"\r\n", b"x" * 10_000)
        for _ in range(10):
            await line.receive(b"x" * RATE * (BODY + 1))
            assert await line.let_pass(BODY + INTERVAL) == b""
        await line.receive(b"x" * (RATE - 1) * BODY)
        assert status_and_code(await line.let_pass(BODY + INTERVAL)) == TIMEOUT

    play(scenario)


def test_without_a_rate_a_body_may_take_for_ever() -> None:
    async def scenario(line: Line) -> None:
        await line.receive(POST + b"\r\n")
        assert await line.let_pass(1000) == b""
        assert line.end == ""

    play(scenario, LIMITS.model_copy(update={"body_bytes_per_second": 0}))


def test_a_body_that_is_not_let_in_is_not_the_clients_fault() -> None:
    async def scenario(line: Line) -> None:
        read_later(line)
        await line.receive(POST + b"\r\n", b"x" * 70_000)
        assert line.transport.is_paused
        assert await line.let_pass(1000) == b""
        line.may_answer.set()
        await turns()
        assert not line.transport.is_paused
        assert await line.receive(b"x" * 30_000) == ANSWER

    play(scenario)


def stream(line: Line, *, reads: bool) -> None:
    """The app answers while the body comes, and then reads on, or not, and says at last why the body ended."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        caller_of(scope).is_stream = True
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        if not reads:
            await line.may_answer.wait()
        try:
            while True:
                await receive()
        except OnnicornError as error:
            await send({"type": "http.response.body", "body": error.code.encode()})

    line.connection.app = app
    line.may_answer.clear()


def test_a_stream_that_reads_no_more_for_a_while_waits_for_nobody() -> None:
    """A client may wait for answers before it sends more."""

    async def scenario(line: Line) -> None:
        stream(line, reads=False)
        await line.receive(POST + b"\r\nx")
        assert await line.let_pass(1000) == b""
        line.may_answer.set()
        await turns()
        assert await line.let_pass(BODY) == b""
        assert await line.let_pass(INTERVAL) == b"f\r\nrequest_timeout\r\n0\r\n\r\n"

    play(scenario)


def test_who_stops_sending_to_a_stream_that_reads_is_told_so_in_its_last_part() -> None:
    async def scenario(line: Line) -> None:
        stream(line, reads=True)
        assert b"some" in await line.receive(POST + b"\r\nx")
        assert await line.let_pass(BODY) == b""
        assert await line.let_pass(INTERVAL) == b"f\r\nrequest_timeout\r\n0\r\n\r\n"
        assert line.end == "said goodbye"

    play(scenario)


def test_a_stream_takes_nothing_more_once_the_server_says_goodbye() -> None:
    async def scenario(line: Line) -> None:
        stream(line, reads=True)
        await line.receive(POST + b"\r\nx")
        line.connection.say_goodbye()
        await turns()
        assert line.transport.written.endswith(b"8\r\ndraining\r\n0\r\n\r\n")
        assert line.end == "said goodbye"

    play(scenario)


def test_a_body_whose_answer_has_not_begun_may_go_on_when_the_server_says_goodbye() -> None:
    async def scenario(line: Line) -> None:
        await line.receive(POST + b"\r\nx")
        line.connection.say_goodbye()
        assert (await line.receive(b"x" * 99_999)).endswith(b"ok")

    play(scenario)


def test_who_was_not_told_to_go_on_need_not_send() -> None:
    async def scenario(line: Line) -> None:
        read_later(line)
        await line.receive(POST + b"Expect: 100-continue\r\n\r\n")
        assert await line.let_pass(1000) == b""
        assert await line.answer() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await line.receive(b"x" * 100_000) == ANSWER

    play(scenario)


def test_a_client_that_does_not_take_its_answer_is_cut_off(records: list[EventDict]) -> None:
    async def scenario(line: Line) -> None:
        await line.receive(GET)
        line.transport.unsent = 1000
        for _ in range(5):
            await line.let_pass(BODY + INTERVAL)
            line.transport.unsent -= RATE * BODY
        assert line.end == ""
        line.transport.unsent += 1
        await line.let_pass(INTERVAL)
        assert line.end == "aborted"

    play(scenario)
    assert [record for record in records if record["event"] != "request"] == [
        {"event": "reader_too_slow", "log_level": "info", "unsent": 701}
    ]


def test_a_client_that_asks_on_and_on_and_takes_nothing_is_cut_off() -> None:
    """Whatever answers there are meanwhile."""

    async def scenario(line: Line) -> None:
        for _ in range(int(BODY / INTERVAL) + 2):
            line.transport.unsent += len(await line.receive(GET))
            assert line.end == ""
            await line.let_pass(INTERVAL)
        assert line.end == "aborted"

    play(scenario)


def test_behind_tls_an_answer_is_taken_in_large_steps() -> None:
    """64 KiB and more seem to be taken at once, and 10 KiB/s is no slow client."""

    class Tls(Transport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return object() if name == "sslcontext" else super().get_extra_info(name, default)

    async def run() -> None:
        line = Line(Tls(can_write_eof=False), limits=Limits(body_seconds=BODY, body_bytes_per_second=1024))
        await line.receive(GET)
        line.transport.unsent = 300_000
        for _ in range(4):
            await line.let_pass(120)
            assert line.end == ""
            line.transport.unsent -= 65_536
        await line.let_pass(130)
        assert line.end == ""
        await line.let_pass(130)
        assert line.end == "aborted"
        line.lose()

    asyncio.run(run())


def test_a_client_that_takes_what_a_stream_sends_may_always_be_behind() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await more.acquire()
            await send({"type": "http.response.body", "body": b"x" * RATE * BODY, "more_body": True})

    async def scenario(line: Line) -> None:
        line.connection.app = app
        await line.receive(GET)
        line.transport.unsent = 500
        for _ in range(10):
            more.release()
            await line.let_pass(BODY + INTERVAL)
        assert line.end == ""
        await line.let_pass(2 * (BODY + INTERVAL))
        assert line.end == "aborted"

    more = asyncio.Semaphore(0)
    play(scenario)


def test_a_client_that_goes_on_behind_its_last_answer_is_heard_for_a_while() -> None:
    async def scenario(line: Line) -> None:
        await line.receive(b"nonsense\r\n\r\n")
        for _ in range(6):
            await line.let_pass(5)
            assert line.end == "said goodbye"
            await line.receive(b"more")
        await line.let_pass(INTERVAL)
        assert line.end == "closed"

    play(scenario)


def test_a_client_that_is_silent_behind_its_last_answer_is_not_waited_for_long() -> None:
    async def scenario(line: Line) -> None:
        await line.receive(b"nonsense\r\n\r\n")
        await line.let_pass(5)
        assert line.end == "said goodbye"
        await line.let_pass(INTERVAL)
        assert line.end == "closed"

    play(scenario)


def test_a_connection_that_is_being_closed_is_left_alone() -> None:
    async def scenario(line: Line) -> None:
        await line.receive(GET[:9])
        line.transport.close()
        assert await line.let_pass(100) == b""

    play(scenario)


def test_time_in_which_nobody_was_heard_does_not_count() -> None:
    """The loop may have been held up: what the client has sent meanwhile is not read yet."""

    async def scenario(line: Line) -> None:
        await line.receive(GET[:9])
        line.clock += 3600
        line.crowd.look(line.clock)
        assert line.end == ""
        assert await line.receive(GET[9:]) != b""

    play(scenario)


def test_looks_that_come_too_soon_are_none() -> None:
    async def scenario(line: Line) -> None:
        await line.receive(GET[:9])
        for step in range(100):
            line.crowd.look(line.clock + step * INTERVAL / 100)
        assert line.end == ""

    play(scenario)
