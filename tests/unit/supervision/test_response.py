"""The usual response is one write; whatever is unusual goes Uvicorn's way, and looks the same on the wire."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.caller import caller_of
from service.errors import OnnicornError, RequestTimeout
from service.supervision.connection import Connection
from tests.unit.loop import turns
from tests.unit.supervision.test_connection import GET, Transport

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEAD = WHOLE[:-2]


class Writes(Transport):
    """Remembers each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.writes.append(bytes(data))


async def writes_of(
    *messages: dict[str, Any], request: bytes = GET, default: tuple[tuple[bytes, bytes], ...] = ()
) -> Writes:
    """What is written when an app sends these messages in answer to `request`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    transport, state = Writes(), ServerState()
    state.default_headers = list(default)
    config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
    connection = Connection(config, state, {})
    connection.connection_made(transport)
    connection.data_received(request)
    await turns()
    return transport


def writes(*messages: dict[str, Any], **how: Any) -> list[bytes]:
    return asyncio.run(writes_of(*messages, **how)).writes


def test_head_and_body_leave_together() -> None:
    assert writes(START, BODY) == [WHOLE]


def test_nothing_is_written_to_a_connection_that_was_reset() -> None:
    """The transport knows of it before the protocol is told."""

    async def run() -> Writes:
        transport = Writes()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            transport.close()
            await send(START)
            await send(BODY)

        config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        connection = Connection(config, ServerState(), {})
        connection.connection_made(transport)
        connection.data_received(GET)
        await turns()
        assert connection.cycle.response_complete
        assert connection.cycle.caller.has_left
        return transport

    assert asyncio.run(run()).writes == []


def test_behind_tls_a_large_body_leaves_as_fast_as_it_is_taken() -> None:
    """What is written at once is encrypted at once, and then nobody can tell how much of it is still with us."""

    class Tls(Writes):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return object() if name == "sslcontext" else super().get_extra_info(name, default)

        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            if len(self.writes) == 2:
                connection.pause_writing()

    body = bytes(range(256)) * 1000
    start = {**START, "headers": [(b"content-length", b"%d" % len(body))]}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({**BODY, "body": body})

    async def run() -> None:
        connection.connection_made(transport)
        connection.data_received(GET)
        await turns()
        assert connection.unsent == len(body) - 65536
        connection.resume_writing()
        await turns()
        assert connection.unsent == 0
        pieces = transport.writes[1:]
        assert b"".join(pieces) == body
        assert [len(piece) for piece in pieces] == [65536, 65536, 65536, len(body) - 3 * 65536]

    async def made() -> Connection:
        config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        return Connection(config, ServerState(), {})

    transport = Tls()
    with asyncio.Runner() as runner:
        connection = runner.run(made())
        runner.run(run())


def test_the_servers_own_headers_come_first() -> None:
    assert writes(START, BODY, default=((b"server", b"x"),)) == [WHOLE.replace(b"OK\r\n", b"OK\r\nserver: x\r\n")]


def test_the_connection_goes_on_behind_it() -> None:
    assert writes(START, BODY, request=GET + GET) == [WHOLE, WHOLE]


def test_an_app_that_stops_behind_its_start_has_sent_nothing_and_is_answered_for() -> None:
    found = b"".join(writes(START))
    assert found.startswith(b"HTTP/1.1 500 ")


def test_a_stream_is_sent_piece_by_piece() -> None:
    assert writes(START, {**BODY, "body": b"o", "more_body": True}, {**BODY, "body": b"k"}) == [HEAD, b"o", b"k"]


def test_without_a_length_it_is_chunked() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert writes({**START, "headers": []}, BODY) == [head, b"2\r\nok\r\n0\r\n\r\n"]


OLD = b"GET /here HTTP/1.0\r\n\r\n"


@pytest.mark.parametrize("pieces", [[b"ok"], [b"", b"o", b"k"], [b"o", b"k", b""]])
def test_who_does_not_know_chunks_reads_until_the_end(pieces: list[bytes]) -> None:
    bodies = [{**BODY, "body": piece, "more_body": True} for piece in pieces]
    found = asyncio.run(writes_of({**START, "headers": []}, *bodies, {**BODY, "body": b"!"}, request=OLD))
    assert b"".join(found.writes) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok!"
    assert found.has_eof


def test_an_answer_to_head_has_no_body() -> None:
    assert writes(START, BODY, request=GET.replace(b"GET", b"HEAD")) == [HEAD]


def test_the_last_answer_says_so_and_closes() -> None:
    close = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    found = asyncio.run(writes_of(START, BODY, request=close))
    assert (found.writes, found.has_eof) == ([HEAD[:-2] + b"connection: close\r\n\r\n", b"ok"], True)
    assert not found.is_closed  # with something unread that would reset it, and the answer be lost


def test_a_header_that_closes_the_connection_does() -> None:
    start = {**START, "headers": [*START["headers"], (b"connection", b"close")]}  # type: ignore[misc]
    found = asyncio.run(writes_of(start, BODY))
    assert (found.writes, found.has_eof) == ([HEAD[:-2] + b"connection: close\r\n\r\n", b"ok"], True)


@pytest.mark.parametrize("length", [b"1", b"3"])
def test_a_body_of_another_length_than_declared_ends_the_connection(length: bytes) -> None:
    found = asyncio.run(writes_of({**START, "headers": [(b"content-length", length)]}, BODY))
    assert found.is_closed


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb"])
def test_a_header_cannot_smuggle_in_another(value: bytes) -> None:
    start = {**START, "headers": [*START["headers"], (b"x-request-id", value)]}  # type: ignore[misc]
    found = asyncio.run(writes_of(start, BODY))
    assert value not in b"".join(found.writes)


@pytest.mark.parametrize(("late", "told"), [(b"", ["RequestTimeout"]), (b"dy", [b"dy", "RequestTimeout"])])
def test_what_ends_a_body_is_heard_by_who_waits_for_it_already(late: bytes, told: list[Any]) -> None:
    """And what came before it is not lost."""

    async def scenario() -> list[Any]:
        heard: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            try:
                while True:
                    heard.append((await receive())["body"])
            except OnnicornError as error:
                heard.append(type(error).__name__)
            await send(START)
            await send(BODY)

        config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        connection = Connection(config, ServerState(), {})
        connection.connection_made(Writes())
        connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbo")
        await turns()
        connection.data_received(late)
        connection.cycle.fail(RequestTimeout("slow"))
        await turns()
        return heard

    assert asyncio.run(scenario()) == told


@pytest.mark.parametrize("at_last", [False, True])
@pytest.mark.parametrize("come", [0, 3, 4])
def test_a_stream_hears_that_the_service_ends_and_waits_for_no_more_of_its_body(come: int, at_last: bool) -> None:
    """Unless all four bytes have come: what is admitted is finished, and hears of the end when its time is over."""

    async def scenario() -> tuple[bool, list[Any]]:
        heard: list[Any] = []
        may_end = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            caller_of(scope).is_stream = True
            try:
                if come:
                    await receive()
                    await send({**START, "headers": []})
                    await send({**BODY, "more_body": True})
                await (may_end.wait() if come == 4 else receive())
            except OnnicornError as error:
                heard.append(type(error).__name__)
            if not come:
                await send({**START, "headers": []})
            await send(BODY)

        config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        connection = Connection(config, ServerState(), {})
        connection.connection_made(Writes())
        connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n" + b"body"[:come])
        await turns()
        caller = connection.cycle.caller
        connection.say_goodbye(at_last=at_last)
        await turns()
        may_end.set()
        await turns()
        return caller.is_dismissed, heard

    assert asyncio.run(scenario()) == ((at_last, []) if come == 4 else (True, ["Draining"]))


@pytest.mark.parametrize(("at_last", "told"), [(False, [b"bo", b"dy"]), (True, [b"bo", "Draining"])])
def test_a_request_whose_body_has_to_be_whole_hears_of_the_end_at_last_alone(at_last: bool, told: list[Any]) -> None:
    """Such as one for events: it is admitted work, and may come as any other. Without its body nothing is run."""

    async def scenario() -> tuple[bool, list[Any]]:
        heard: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                while (message := await receive())["more_body"]:
                    heard.append(message["body"])
                heard.append(message["body"])
            except OnnicornError as error:
                heard.append(type(error).__name__)
            await send({**START, "headers": []})
            await send(BODY)

        config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        connection = Connection(config, ServerState(), {})
        connection.connection_made(Writes())
        connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
        await turns()
        caller = connection.cycle.caller
        connection.say_goodbye(at_last=at_last)
        await turns()
        connection.data_received(b"dy")
        await turns()
        return caller.is_dismissed, heard

    assert asyncio.run(scenario()) == (at_last, told)


def test_a_request_leaves_nothing_for_the_collector() -> None:
    async def scenario() -> int:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            await send(BODY)

        config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        connection = Connection(config, ServerState(), {})
        connection.connection_made(Writes())
        gc.collect()
        for _ in range(100):
            connection.data_received(GET)
            await turns()
        return gc.collect()

    assert asyncio.run(scenario()) < 100


def test_nor_does_one_whose_body_failed() -> None:
    """The error holds, by its traceback, whatever the app was at."""

    async def scenario() -> bool:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                while True:
                    await receive()
            except OnnicornError:
                await send(START)
                await send(BODY)

        async def fail_once() -> None:
            connection = Connection(config, ServerState(), {})
            connection.connection_made(Writes())
            connection.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
            await turns()
            connection.cycle.fail(RequestTimeout("slow"))
            await turns()
            cycles.append(weakref.ref(connection.cycle))
            connection.connection_lost(None)
            await turns()

        config = Config(app, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None)
        cycles: list[Any] = []
        await fail_once()
        return cycles[0]() is None

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(scenario())
    finally:
        gc.enable()
