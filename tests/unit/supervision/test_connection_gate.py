"""The gate at the door of a connection: whom it turns away, and that it is told of everybody who comes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.typing import EventDict
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.caller import caller_of
from service.errors import Overloaded
from service.supervision.connection import Connection
from service.web.gate import STATE, Answer, Headers, Open
from tests.unit.loop import turns
from tests.unit.supervision.test_connection import ANSWER, GET, REQUEST, Transport

REFUSED = Answer(503, b"content-length: 2\r\n", b"no")
NO = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno"
CLOSING = REQUEST.replace(b"Host", b"Connection: close\r\nHost")
OLD = REQUEST.replace(b"1.1", b"1.0")
OFFER = REQUEST.replace(b"Host", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHost")
LARGE = b"POST /here HTTP/1.1\r\nHost: here\r\nContent-Length: 6\r\n\r\n"


class Closed(Open):
    """Turns everybody away who comes; it remembers what they asked for."""

    def __init__(self, is_pressed: bool = True) -> None:
        super().__init__()
        self._is_pressed = is_pressed
        self.asked: list[tuple[bytes, bytes, list[tuple[bytes, bytes]]]] = []

    @property
    def is_pressed(self) -> bool:
        return self._is_pressed

    def refuse(self, method: bytes, target: bytes, headers: Headers, arrived: Callable[[], float]) -> Answer | None:
        self.asked.append((method, target, list(headers)))
        return REFUSED


class Door:
    """A connection behind a gate, and an app that answers `ok` to whoever is let in, in its own time."""

    def __init__(self, gate: Open, *default: tuple[bytes, bytes]) -> None:
        self.transport = Transport()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        state = ServerState()
        state.default_headers = list(default)
        config = Config(self._app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        self.connection = Connection(config, state, {STATE: gate})
        self.connection.connection_made(self.transport)

    async def receive(self, *parts: bytes) -> bytes:
        before = len(self.transport.written)
        for part in parts:
            self.connection.data_received(part)
            await turns()
        return self.transport.written[before:]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        caller_of(scope).begin()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def test_who_is_turned_away_may_come_again_on_the_same_connection() -> None:
    async def run() -> None:
        gate = Closed()
        door = Door(gate, (b"date", b"today"))
        no = NO.replace(b"content-length", b"date: today\r\ncontent-length")
        assert [await door.receive(REQUEST), await door.receive(REQUEST + REQUEST)] == [no, no + no]
        headers = [(b"host", b"here"), (b"content-length", b"4")]
        assert gate.asked == [(b"POST", b"/here", headers)] * 3
        assert (gate.arrivals.waiting, door.connection.is_idle, door.transport.is_closed) == (0, True, False)

    asyncio.run(run())


def test_a_body_that_comes_behind_its_refusal_is_read_past() -> None:
    async def run() -> None:
        gate = Closed()
        door = Door(gate)
        assert await door.receive(LARGE, b"123", b"456" + REQUEST) == NO + NO
        assert len(gate.asked) == 2

    asyncio.run(run())


def test_a_gate_that_nobody_presses_on_is_not_asked() -> None:
    async def run() -> None:
        gate = Closed(is_pressed=False)
        assert await Door(gate).receive(REQUEST) == ANSWER
        assert gate.asked == []

    asyncio.run(run())


def test_what_is_unusual_is_let_in() -> None:
    async def run() -> None:
        gate = Closed()
        assert b"200 OK" in await Door(gate).receive(OFFER)
        assert gate.asked == []

    asyncio.run(run())


@pytest.mark.parametrize("behind", [b"nonsense\r\n\r\n", b"GET /" + b"x" * 100_000, REQUEST])
def test_bytes_behind_a_last_answer_at_the_gate_are_not_answered(behind: bytes) -> None:
    async def run() -> None:
        door = Door(Closed())
        old = OLD.replace(b"Host", b"Connection: keep-alive\r\nHost")
        assert await door.receive(old + behind) == NO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")

    asyncio.run(run())


@pytest.mark.parametrize("last", [CLOSING, OLD])
def test_who_wants_one_answer_may_be_turned_away_for_good(last: bytes) -> None:
    """As proxies do that keep no connections. What comes behind it, in the same packet or later, is not looked at."""

    async def run() -> None:
        gate = Closed()
        door = Door(gate)
        closing = NO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        assert await door.receive(last + REQUEST, REQUEST) == closing
        assert (len(gate.asked), gate.arrivals.waiting) == (1, 0)
        assert (door.transport.has_eof, door.transport.is_closed) == (True, False)

    asyncio.run(run())


def test_nobody_is_turned_away_where_each_answer_is_the_last() -> None:
    async def run() -> None:
        assert b"200 OK" in await Door(Closed(), (b"connection", b"close")).receive(REQUEST)

    asyncio.run(run())


def test_who_does_not_read_what_they_are_told_is_told_no_more() -> None:
    """Refusals wait like any other answer, and what is behind them is not read."""

    async def run() -> None:
        door = Door(Closed())
        door.connection.pause_writing()
        assert await door.receive(REQUEST + REQUEST) == b""
        assert door.connection.flow.read_paused
        door.connection.resume_writing()
        await turns()
        assert door.transport.written == ANSWER + ANSWER

    asyncio.run(run())


def test_a_gate_that_fails_is_our_mistake(records: list[EventDict]) -> None:
    class Broken(Closed):
        def refuse(self, *asked: object) -> Answer | None:
            raise KeyError("model")

    async def run() -> None:
        answer = await Door(Broken()).receive(REQUEST)
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"internal_error" in answer

    asyncio.run(run())
    [record] = records
    assert (record["event"], record["code"], repr(record["exc_info"].__cause__)) == (
        "request",
        "internal_error",
        "KeyError('model')",
    )


def test_a_connection_beyond_the_limit_is_told_the_status_that_is_set() -> None:
    async def run() -> None:
        gate = Closed()
        gate.overload_status = 429
        door = Door(gate)
        door.connection.refuse(Overloaded("full", "connections", 1))
        assert door.transport.written.startswith(b"HTTP/1.1 429 ")

    asyncio.run(run())


async def _answered(door: Door) -> None:
    await door.receive(REQUEST + GET)


async def _left(door: Door) -> None:
    door.may_answer.clear()
    await door.receive(REQUEST + GET + GET)
    door.connection.connection_lost(None)
    door.may_answer.set()
    await turns()


async def _of_an_odd_target(door: Door) -> None:
    await door.receive(b"GET http:// HTTP/1.1\r\nHost: here\r\n\r\n")


async def _too_many(door: Door) -> None:
    door.may_answer.clear()
    await door.receive(GET * 300)
    door.may_answer.set()
    for _ in range(300):
        await turns()


@pytest.mark.parametrize("requests", [_answered, _left, _of_an_odd_target, _too_many])
def test_everybody_who_arrives_begins_or_never_will(requests: Callable[[Door], Any]) -> None:
    async def run() -> None:
        gate = Closed(is_pressed=False)
        await requests(Door(gate))
        assert gate.arrivals.waiting == 0

    asyncio.run(run())
