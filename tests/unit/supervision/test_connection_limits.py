"""What is too large, too much or of a wrong form is refused while it comes; what else the client sends is dropped."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from structlog.typing import EventDict
from uvicorn.server import ServerState

from service.errors import MalformedRequest
from service.knobs import Limits
from service.telemetry.metrics import REGISTRY
from tests.unit.loop import until
from tests.unit.supervision.test_connection import ANSWER, GET, KEEP_ALIVE, REQUEST, Line, Transport

LIMITS = Limits(header_bytes=1024, headers=16, uri_bytes=256)
CHUNKED = b"POST /here HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


def play(scenario: Callable[[Line], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        line = Line(limits=LIMITS, accounts=True)
        await scenario(line)
        line.lose()

    asyncio.run(run())


def status_and_code(answer: bytes) -> tuple[int, str]:
    """Of an answer that is the last of its connection."""
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"\r\nconnection: close" in head
    return int(head.split()[1]), json.loads(body)["code"]


TOO_LARGE = (431, "headers_too_large")
TOO_LONG = (414, "uri_too_long")
MALFORMED = (400, "malformed_request")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([GET[:-2] + b"A: " + b"x" * 1024 + b"\r\n\r\n"], TOO_LARGE),
        ([GET[:-2] + b"A: " + b"x" * 500, b"x" * 400, b"x" * 200 + b"\r\n\r\n"], TOO_LARGE),
        ([GET[:-2] + b"A: ", b"x" * 1025], TOO_LARGE),
        ([GET[:-2] + b"A: ", b"x" * 1000, b"x" * 25], TOO_LARGE),
        ([GET[:-2] + b"x" * 500, b"x" * 525, b"x" * 500], TOO_LARGE),
        ([GET[:-2] + b"A: b\r\n" * 16 + b"\r\n"], TOO_LARGE),
        ([GET[:-2], *[b"A: b\r\n"] * 17], TOO_LARGE),
        ([b"GET /" + b"x" * 256 + b" HTTP/1.1\r\nHost: here\r\n\r\n"], TOO_LONG),
        ([b"GET /" + b"x" * 200, b"x" * 57], TOO_LONG),
        ([b"GET /?" + b"x" * 70_000], TOO_LONG),
    ],
)
@pytest.mark.parametrize("earlier", [0, 2])
def test_a_head_that_is_too_large_is_refused(parts: list[bytes], expected: tuple[int, str], earlier: int) -> None:
    async def scenario(line: Line) -> None:
        for _ in range(earlier):
            await line.receive(REQUEST)
        assert status_and_code(await line.receive(*parts)) == expected
        assert line.end == "said goodbye"
        assert len(line.seen) == earlier

    play(scenario)


@pytest.mark.parametrize(
    "parts",
    [
        [GET[:-2] + b"A: " + b"x" * 900 + b"\r\n\r\n"],
        [GET[:-2] + b"A: " + b"x" * 450, b"x" * 450 + b"\r\n\r\n"],
        [GET[:-2] + b"A: b\r\n" * 15 + b"\r\n"],
        [b"GET /" + b"x" * 255 + b" HTTP/1.1\r\nHost: here\r\n\r\n"],
        [GET[:-2], *[b"A: b\r\n"] * 15, b"\r\n"],
        [*([b"\r\n" * 100] * 100), GET],
    ],
)
def test_a_head_of_just_the_limit_is_read(parts: list[bytes]) -> None:
    async def scenario(line: Line) -> None:
        for _ in range(3):
            assert (await line.receive(*parts)).startswith(b"HTTP/1.1 200 ")

    play(scenario)


def test_a_body_is_no_head() -> None:
    """Not even where the two of them, or the next head, share a packet."""

    async def scenario(line: Line) -> None:
        body = b"x" * 5000
        head = b"POST /here HTTP/1.1\r\nHost: here\r\nContent-Length: 5000\r\n"
        whole = head + b"\r\n" + body
        chunked = CHUNKED + b"1388\r\n" + body + b"\r\n0\r\n\r\n"
        for parts in ([whole], [whole + GET[:20], GET[20:]], [head, b"\r\n" + body[:9], body[9:]], [chunked]):
            await line.receive(*parts)
        assert [len(body) for _, body in line.seen] == [5000, 5000, 0, 5000, 5000]

    play(scenario)


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param([b"0\r\nA: ", *[b"x" * 100] * 11], id="a trailer"),
        pytest.param([b"0\r\n", *[b"A: b\r\n"] * 172], id="trailers"),
        pytest.param([b"4;", *[b"x" * 100] * 11], id="a chunk extension"),
        pytest.param([b"1;" + b"x" * 100 + b"\r\n \r\n"] * 12, id="chunk extensions"),
    ],
)
def test_what_surrounds_a_body_is_limited(endless: list[bytes], records: list[EventDict]) -> None:
    async def scenario(line: Line) -> None:
        assert status_and_code(await line.receive(CHUNKED, *endless)) == TOO_LARGE
        assert line.end == "said goodbye"

    play(scenario)
    assert [(record["status"], record["code"]) for record in records] == [TOO_LARGE]


def test_small_chunks_are_no_attack() -> None:
    async def scenario(line: Line) -> None:
        assert (await line.receive(CHUNKED, *[b"6\r\npieces\r\n"] * 2000, b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert line.seen[0][1] == b"pieces" * 2000

    play(scenario)


def test_only_a_few_chunks_may_be_tiny() -> None:
    """Each costs as much to read as a large one."""

    async def scenario(line: Line) -> None:
        assert status_and_code(await line.receive(CHUNKED, *[b"1\r\nx\r\n"] * 2000)) == TOO_LARGE

    play(scenario)


def test_trailers_are_read_and_dropped() -> None:
    async def scenario(line: Line) -> None:
        await line.receive(CHUNKED + b"1\r\nx\r\n", b"0\r\nA: b\r\n", b"Host: there\r\n\r\n")
        assert (await line.receive(GET)).startswith(b"HTTP/1.1 200 ")
        assert line.seen[0] == ({b"host": b"here", b"transfer-encoding": b"chunked"}, b"x")

    play(scenario)


def test_a_body_that_breaks_off_in_its_framing_fails_its_own_request(records: list[EventDict]) -> None:
    async def scenario(line: Line) -> None:
        assert status_and_code(await line.receive(CHUNKED, b"1\r\nx\r\n", b"zz\r\n")) == MALFORMED
        assert line.seen == []
        assert line.connection.eof_received() is False

    play(scenario)
    assert [(record["method"], record["status"]) for record in records] == [("POST", 400)]


def test_who_closes_their_side_behind_a_broken_body_still_gets_the_answer() -> None:
    async def scenario(line: Line) -> None:
        line.connection.data_received(CHUNKED + b"zz\r\n")
        assert line.connection.eof_received() is True
        assert status_and_code(await line.answer()) == MALFORMED
        assert line.end == "closed"

    play(scenario)


def test_what_is_no_request_is_refused_behind_the_answers_that_are_owed() -> None:
    async def scenario(line: Line) -> None:
        line.connection.app = line._app
        line.may_answer.clear()
        assert await line.receive(REQUEST + REQUEST + b"nonsense\r\n\r\n", REQUEST) == b""
        first, second, last = (await line.answer()).partition(ANSWER * 2)
        assert (first, second, status_and_code(last)) == (b"", ANSWER * 2, MALFORMED)
        assert len(line.seen) == 2

    play(scenario)


def test_a_body_that_breaks_in_the_middle_of_its_answer_is_what_the_answer_can_end_with() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        try:
            while True:
                await receive()
        except MalformedRequest as broken:
            await send({"type": "http.response.body", "body": broken.code.encode()})

    async def scenario(line: Line) -> None:
        line.connection.app = app
        assert b"some" in await line.receive(CHUNKED)
        assert await line.receive(b"zz\r\n", REQUEST) == b"11\r\nmalformed_request\r\n0\r\n\r\n"
        assert line.end == "said goodbye"

    play(scenario)


def test_an_answer_before_the_end_of_the_body_is_the_last_and_what_still_comes_is_dropped() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    async def scenario(line: Line) -> None:
        line.connection.app = app
        answer = await line.receive(REQUEST[:-4])
        assert answer == b"HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
        assert line.end == "said goodbye"
        assert await line.receive(b"body", REQUEST, b"nonsense\r\n\r\n") == b""
        assert line.end == "said goodbye"
        assert line.connection.eof_received() is False

    play(scenario)


def test_a_client_that_pipelines_without_end_is_refused() -> None:
    async def scenario(line: Line) -> None:
        line.connection.app = line._app
        line.connection.data_received(GET * 1000)
        assert len(line.connection.pipeline) == 256
        await until(lambda: line.end)
        assert line.transport.written.startswith(ANSWER * 257)
        assert status_and_code(line.transport.written.removeprefix(ANSWER * 257)) == (503, "overloaded")

    play(scenario)


def crowded(state: ServerState, most: int, records: list[Line]) -> Line:
    crowd = records[0].crowd if records else None
    line = Line(state=state, limits=Limits(connections=most), crowd=crowd)
    records.append(line)
    return line


def test_at_the_limit_the_longest_idle_connection_makes_room() -> None:
    async def scenario() -> None:
        state, lines = ServerState(), list[Line]()
        for _ in range(3):
            await crowded(state, 3, lines).receive(GET)
            await lines[0].let_pass(1)
        await lines[0].receive(GET)
        await crowded(state, 3, lines).receive(GET)
        assert [line.end for line in lines] == ["", "said goodbye", "", ""]
        await crowded(state, 3, lines).receive(GET)
        assert [line.end for line in lines] == ["", "said goodbye", "said goodbye", "", ""]
        for line in lines:
            line.lose()
        assert lines[0].counts == [1, 2, 3, 4, 5, 4, 3, 2, 1, 0]

    asyncio.run(scenario())


def test_where_nobody_is_idle_the_newcomer_is_refused(records: list[EventDict]) -> None:
    async def scenario() -> None:
        state, lines = ServerState(), list[Line]()
        silent, half, busy = (crowded(state, 3, lines) for _ in range(3))
        busy.may_answer.clear()
        await half.receive(GET[:9])
        await busy.receive(GET)
        new = crowded(state, 3, lines)
        assert status_and_code(new.transport.written) == (503, "overloaded")
        assert b"\r\nretry-after: 1\r\n" in new.transport.written
        assert await new.receive(GET) == b""
        assert [line.end for line in lines] == ["", "", "", "said goodbye"]
        silent.lose()
        assert await crowded(state, 3, lines).receive(GET) == ANSWER
        for line in lines:
            line.lose()

    before = refused_connections()
    asyncio.run(scenario())
    assert refused_connections() == before + 1
    assert [(record["status"], record["code"]) for record in records] == [(503, "overloaded")]


def test_those_who_are_refused_do_not_pile_up() -> None:
    async def scenario() -> None:
        state, lines = ServerState(), list[Line]()
        for _ in range(100):
            crowded(state, 1, lines)
        ends = [line.end for line in lines]
        assert ends == ["", *["aborted"] * 35, *["said goodbye"] * 64]
        for line in lines:
            line.lose()

    asyncio.run(scenario())


def refused_connections() -> float:
    return REGISTRY.get_sample_value("onnicorn_refused_total", {"reason": "connections"}) or 0


def test_a_connection_that_cannot_be_half_closed_is_closed_with_its_refusal() -> None:
    async def scenario() -> None:
        line = Line(Transport(can_write_eof=False))
        assert status_and_code(await line.receive(b"nonsense\r\n\r\n")) == MALFORMED
        assert line.end == "closed"
        line.lose()

    asyncio.run(scenario())


def test_idle_connections_that_say_goodbye_at_once_are_few_enough_to_look_for() -> None:
    """Looked for once between two looks, the longest idle first; who has asked again meanwhile stays."""

    async def scenario() -> None:
        state, lines = ServerState(), list[Line]()
        for _ in range(2):
            await crowded(state, 2, lines).receive(GET)
        crowded(state, 2, lines)
        crowded(state, 2, lines)
        assert [line.end for line in lines[:2]] == ["said goodbye", "said goodbye"]
        await lines[2].receive(GET)
        assert status_and_code(crowded(state, 2, lines).transport.written) == (503, "overloaded")
        await lines[0].let_pass(KEEP_ALIVE / 75)
        assert crowded(state, 2, lines).transport.written == b""
        assert lines[2].end == "said goodbye"
        for line in lines:
            line.lose()

    asyncio.run(scenario())
