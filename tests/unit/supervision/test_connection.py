"""One HTTP connection over a transport that only remembers: what is answered, declined, counted, and ended."""

import asyncio
import gc
import json
import weakref
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

import pytest
from structlog.typing import EventDict
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.caller import EXTENSION, Caller
from service.knobs import Limits
from service.supervision.connection import Connection
from service.supervision.crowd import INTERVAL, Crowd
from service.telemetry.metrics import REGISTRY
from service.web.middleware import Accounting, LastResort
from tests.unit.loop import turns

REQUEST = b"POST /here HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody"
GET = b"GET /here HTTP/1.1\r\nHost: here\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
KEEP_ALIVE = 75
LAST_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


class Transport(asyncio.Transport):
    """Remembers what was done with it."""

    def __init__(self, can_write_eof: bool = True) -> None:
        super().__init__()
        self.written = b""
        self.has_eof = False
        self.is_closed = False
        self.is_aborted = False
        self.is_paused = False
        self.unsent = 0
        self._can_write_eof = can_write_eof

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 7), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed
        assert not self.has_eof
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return self._can_write_eof

    def write_eof(self) -> None:
        self.has_eof = True

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It has no buffer."""

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Line:
    """A connection, its transport, and an app that answers `ok` to every request, once it is let."""

    def __init__(
        self,
        transport: Transport | None = None,
        state: ServerState | None = None,
        limits: Limits | None = None,
        crowd: Crowd | None = None,
        *,
        accounts: bool = False,
    ) -> None:
        """`accounts` puts the app behind what turns errors into problems, and requests into log lines."""
        self.transport = transport or Transport()
        self.state = state or ServerState()
        self.seen: list[tuple[dict[bytes, bytes], bytes]] = []
        self.counts: list[int] = []
        self.callers: list[Caller] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        config = Config(
            self._app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None, access_log=False
        )
        self.clock = 0.0
        self.crowd = crowd or Crowd(self.state.connections, limits or Limits(), KEEP_ALIVE, self.counts.append)
        self.connection = Connection(config, self.state, {}, crowd=self.crowd)
        if accounts:
            self.connection.app = Accounting(LastResort(self._app))
        self.connection.connection_made(self.transport)

    async def receive(self, *parts: bytes) -> bytes:
        """What is written in answer to these bytes, each part by itself."""
        before = len(self.transport.written)
        for part in parts:
            self.connection.data_received(part)
            await turns()
        return self.transport.written[before:]

    async def answer(self) -> bytes:
        """What is written when the app answers."""
        before = len(self.transport.written)
        self.may_answer.set()
        await turns()
        return self.transport.written[before:]

    async def let_pass(self, seconds: float) -> bytes:
        """What is written while this time passes, for this connection and all others of its crowd."""
        before = len(self.transport.written)
        for _ in range(round(seconds / INTERVAL)):
            self.clock += INTERVAL
            self.crowd.look(self.clock)
            await turns()
        return self.transport.written[before:]

    @property
    def end(self) -> str:
        """How the server has ended the connection, if it has."""
        if self.transport.is_aborted:
            return "aborted"
        if self.transport.is_closed:
            return "closed"
        return "said goodbye" if self.transport.has_eof else ""

    def lose(self) -> None:
        self.connection.connection_lost(None)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append((dict(scope["headers"]), body))
        self.callers.append(scope["extensions"][EXTENSION])
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_the_server_hears_how_many_connections_it_holds() -> None:
    async def scenario() -> None:
        state = ServerState()
        one, two = Line(state=state), Line(state=state)
        one.lose()
        three = Line(state=state)
        two.lose()
        three.lose()
        assert [line.counts for line in (one, two, three)] == [[1, 1], [2, 1], [2, 0]]

    play(scenario)


def test_white_space_behind_a_value_is_no_part_of_it() -> None:
    async def scenario() -> None:
        line = Line()
        await line.receive(b"POST / HTTP/1.1\r\nHost: here\r\nA: b \t \r\nB:\t \r\nContent-Length: 4 \r\n\r\nbody")
        assert line.seen == [({b"host": b"here", b"a": b"b", b"b": b"", b"content-length": b"4"}, b"body")]
        line.lose()

    play(scenario)


def test_a_client_of_http_1_0_is_not_told_to_go_on() -> None:
    """It would take that for the answer (RFC 9110, 10.1.1)."""

    async def scenario() -> None:
        line = Line()
        head = b"POST / HTTP/1.%d\r\nHost: here\r\nExpect: 100-continue \r\nContent-Length: 4\r\n\r\n"
        assert await line.receive(head % 1) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.receive(b"body")
        assert await line.receive(head % 0) == b""
        line.lose()

    play(scenario)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://there", "/", b""),
        (b"http://there?a=b", "/", b"a=b"),
        (b"http://there:80/cat?a", "/cat", b"a"),
        (b"/http://there", "/http://there", b""),
        (b"*", "*", b""),
    ],
)
def test_a_target_may_name_the_host_and_leave_out_the_path(target: bytes, path: str, query: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["query_string"]))

    async def scenario() -> None:
        line = Line()
        line.connection.app = app
        await line.receive(b"OPTIONS %s HTTP/1.1\r\nHost: here\r\n\r\n" % target)
        line.lose()

    seen: list[tuple[str, bytes]] = []
    play(scenario)
    assert seen == [(path, query)]


def test_what_an_app_has_not_read_of_a_body_is_not_kept_behind_its_answer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def scenario() -> None:
        line = Line()
        line.connection.app = app
        assert await line.receive(REQUEST) == ANSWER
        assert line.connection.cycle.body == b""
        line.lose()

    play(scenario)


def test_a_client_behind_tls_that_closes_its_side_has_left() -> None:
    """There is no half-closed state."""

    async def scenario() -> None:
        line = Line(Transport(can_write_eof=False))
        line.may_answer.clear()
        await line.receive(REQUEST)
        assert line.connection.eof_received() is False
        line.lose()

    play(scenario)


def test_nobody_has_to_listen_to_the_count() -> None:
    async def scenario() -> None:
        line = Line()
        quiet = Connection(line.connection.config, ServerState(), {})
        quiet.connection_made(Transport())
        quiet.connection_lost(None)

    play(scenario)


def test_requests_are_answered_one_after_another() -> None:
    async def scenario() -> None:
        line = Line()
        assert await line.receive(REQUEST) == ANSWER
        assert await line.receive(REQUEST[:30], REQUEST[30:]) == ANSWER
        assert await line.receive(REQUEST + REQUEST) == ANSWER + ANSWER
        assert [body for _, body in line.seen] == [b"body"] * 4
        assert not line.transport.is_closed
        line.lose()

    play(scenario)


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nno header\r\n\r\n"])
def test_bytes_that_are_no_http_get_a_problem_and_an_end(data: bytes, records: list[EventDict]) -> None:
    async def scenario() -> None:
        line = Line()
        line.state.default_headers = [(b"date", b"today")]
        head, body = (await line.receive(data)).split(b"\r\n\r\n")
        problem = json.loads(body)
        assert problem == {
            "error": "these bytes are not an HTTP/1.1 request; the connection is closed",
            "code": "malformed_request",
            "request_id": problem["request_id"],
        }
        assert head.decode().split("\r\n") == [
            "HTTP/1.1 400 Bad Request",
            "date: today",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-request-id: {problem['request_id']}",
            "connection: close",
        ]
        assert (line.transport.has_eof, line.transport.is_closed) == (True, False)
        [record] = records
        assert record.pop("duration_ms") >= 0
        assert record == {
            "event": "request",
            "log_level": "info",
            "method": "",
            "route": "unmatched",
            "status": 400,
            "request_id": problem["request_id"],
            "bytes_in": 0,
            "bytes_out": len(body),
            "code": "malformed_request",
            "reason": problem["error"],
        }
        line.lose()

    before = refused()
    play(scenario)
    assert refused() == before + 1


def refused() -> float:
    labels = {"route": "unmatched", "method": "OTHER", "status": "400"}
    return REGISTRY.get_sample_value("onnicorn_http_requests_total", labels) or 0


OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"connection: upgrade\r\nupgrade: websocket\r\n",
    b"Upgrade:h2c\r\nConnection:Upgrade\r\n",
]


def offering(offer: bytes, body: bytes = b"body") -> bytes:
    return b"POST /here HTTP/1.1\r\nHost: here\r\n%sContent-Length: %d\r\n\r\n%s" % (offer, len(body), body)


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("split", [None, -4, -2])
def test_an_offer_of_another_protocol_is_declined_and_the_request_answered(offer: bytes, split: int | None) -> None:
    async def scenario() -> None:
        line = Line()
        data = offering(offer)
        for _ in range(2):
            assert await line.receive(*([data] if split is None else [data[:split], data[split:]])) == ANSWER
        assert [body for _, body in line.seen] == [b"body", b"body"]
        line.lose()

    play(scenario)


TALK = b"Upgrade: me\r\nUpgrade: me\r\n\r\nUpgrade: me"


@pytest.mark.parametrize("split", [None, -len(TALK), -len(TALK) + 2, -11])
def test_a_body_that_talks_of_upgrades_is_left_as_it_is(split: int | None) -> None:
    async def scenario() -> None:
        line = Line()
        data = offering(b"", TALK)
        assert await line.receive(*([data] if split is None else [data[:split], data[split:]])) == ANSWER
        assert [body for _, body in line.seen] == [TALK]
        line.lose()

    play(scenario)


def test_a_path_that_talks_of_upgrades_is_left_as_it_is() -> None:
    async def scenario() -> None:
        line = Line()
        assert await line.receive(b"GET /upgrade HTTP/1.1\r\nHost: upgrade\r\nX-Upgrade: me\r\n\r\n") == ANSWER
        assert line.seen == [({b"host": b"upgrade", b"x-upgrade": b"me"}, b"")]
        line.lose()

    play(scenario)


def test_the_answer_that_is_under_way_can_be_made_the_last() -> None:
    async def scenario() -> None:
        line = Line()
        line.may_answer.clear()
        assert await line.receive(REQUEST) == b""
        assert not line.connection.is_idle
        line.connection.answer_last()
        assert await line.answer() == LAST_ANSWER
        assert line.end == "said goodbye"
        line.lose()

    play(scenario)


def test_the_last_of_several_answers_that_are_under_way_is_the_last() -> None:
    async def scenario() -> None:
        line = Line()
        line.may_answer.clear()
        assert await line.receive(REQUEST + REQUEST) == b""
        line.connection.answer_last()
        assert await line.answer() == ANSWER + LAST_ANSWER
        assert line.end == "said goodbye"
        line.lose()

    play(scenario)


def test_who_asks_on_behind_the_last_request_is_read_no_more() -> None:
    """The parser of HTTP/1.0 requests that keep the connection says that more may come; no answer does."""

    async def scenario() -> None:
        line = Line(accounts=True)
        old = GET.replace(b"1.1", b"1.0").replace(b"Host", b"Connection: keep-alive\r\nHost")
        assert (await line.receive(old * 50)).count(b"HTTP/1.1 200 OK") == 1
        assert (line.end, len(line.connection.pipeline)) == ("said goodbye", 0)
        assert line.connection.eof_received() is False
        await line.let_pass(6)
        assert line.end == "closed"
        line.lose()
        assert line.connection._gate.arrivals.waiting == 0

    play(scenario)


@pytest.mark.parametrize("asked", [[], [REQUEST], [GET[:9]]])
def test_where_no_answer_is_under_way_none_is_the_last(asked: list[bytes]) -> None:
    async def scenario() -> None:
        line = Line()
        await line.receive(*asked)
        assert line.connection.is_idle
        line.connection.answer_last()
        rest = GET[9:] if asked == [GET[:9]] else REQUEST
        assert await line.receive(rest) == ANSWER
        line.lose()

    play(scenario)


@pytest.mark.parametrize("asked", [[], [REQUEST], [REQUEST[:30]]])
def test_an_idle_client_is_told_goodbye_and_what_it_still_sends_is_dropped(asked: list[bytes]) -> None:
    async def scenario() -> None:
        line = Line()
        await line.receive(*asked)
        line.connection.say_goodbye()
        assert (line.transport.has_eof, line.transport.is_closed) == (True, False)
        assert await line.receive(REQUEST, b"no HTTP at all\r\n\r\n") == b""
        assert len(line.seen) == (asked == [REQUEST])
        line.lose()

    play(scenario)


def test_nobody_is_told_goodbye_before_the_answer() -> None:
    async def scenario() -> None:
        line = Line()
        line.may_answer.clear()
        await line.receive(REQUEST)
        line.connection.say_goodbye()
        assert (line.transport.has_eof, line.transport.is_closed) == (False, False)
        assert await line.answer() == ANSWER
        line.lose()

    play(scenario)


def test_a_connection_that_cannot_be_half_closed_is_closed() -> None:
    async def scenario() -> None:
        line = Line(Transport(can_write_eof=False))
        line.connection.say_goodbye()
        assert (line.transport.has_eof, line.transport.is_closed) == (False, True)
        line.lose()

    play(scenario)


@pytest.mark.parametrize(
    ("asked", "stays_open"),
    [([], False), ([REQUEST[:30]], False), ([REQUEST[:-2]], False), ([REQUEST], True), ([REQUEST + REQUEST], True)],
)
def test_a_client_that_closes_its_side_gets_its_answer_if_it_has_asked(asked: list[bytes], stays_open: bool) -> None:
    async def scenario() -> None:
        line = Line()
        line.may_answer.clear()
        await line.receive(*asked)
        assert line.connection.eof_received() is stays_open
        if stays_open:
            assert (await line.answer()).endswith(LAST_ANSWER)
            assert line.transport.is_closed
            assert len(line.seen) == len(asked[0]) // len(REQUEST)
        line.lose()

    play(scenario)


def test_a_client_that_closes_its_side_after_its_answer_is_done() -> None:
    async def scenario() -> None:
        line = Line()
        await line.receive(REQUEST)
        assert line.connection.eof_received() is False
        line.lose()

    play(scenario)


def test_a_caller_leaves_with_the_connection_and_not_before() -> None:
    """All whose answers are not complete leave, those that wait behind another too."""

    async def scenario() -> None:
        line = Line()
        await line.receive(REQUEST)
        line.may_answer.clear()
        await line.receive(REQUEST + REQUEST)
        line.connection.eof_received()
        answered, running = line.callers
        queued: Any = line.connection.pipeline[0][0].scope["extensions"][EXTENSION]
        everyone = [answered, running, queued]
        assert [caller.has_left for caller in everyone] == [False, False, False]
        line.lose()
        assert [caller.has_left for caller in everyone] == [False, True, True]
        assert await line.answer() == b""

    play(scenario)


def test_a_caller_arrives_when_the_head_is_there() -> None:
    async def scenario() -> None:
        line = Line()
        await line.receive(REQUEST[:30])
        before = monotonic()
        await line.receive(REQUEST[30:-4], REQUEST[-4:])
        assert before <= line.callers[0].arrived() <= monotonic()
        line.lose()

    play(scenario)


def test_neither_request_nor_caller_nor_connection_is_left_to_the_collector() -> None:
    left: list[weakref.ref[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        left.append(weakref.ref(scope["extensions"][EXTENSION]))
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def scenario() -> None:
        config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        connection = Connection(config, ServerState(), {})
        connection.connection_made(Transport())
        for data in (GET, REQUEST + REQUEST, REQUEST):
            connection.data_received(data)
            await turns()
            left.append(weakref.ref(connection.cycle))
        left.append(weakref.ref(connection))
        connection.connection_lost(None)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(scenario())
        assert [reference() for reference in left] == [None] * 8
    finally:
        gc.enable()
