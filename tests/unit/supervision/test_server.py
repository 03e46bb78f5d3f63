"""A worker's way out, step by step, as its clients see it: over loopback, with the time in the test's hands."""

import asyncio
import gc
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from structlog.typing import EventDict
from uvicorn.config import STARTUP_FAILURE, Config

from service.board import Board
from service.rows import State
from service.seat import Seat
from service.supervision import server as module
from service.supervision.connection import Connection
from service.supervision.listener import open_listener
from service.supervision.server import WorkerServer
from service.web.middleware import Accounting, LastResort
from tests.unit.loop import SECONDS, turns, until

DRAIN, FINISH = 5, 30
GET = b"GET /here HTTP/1.1\r\nHost: here\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n"


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def is_last(self) -> bool:
        return self.headers.get("connection") == "close"


# More than the sockets' buffers take.
LARGE = bytes(32 << 20)


class Client:
    """One connection, as its client has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> Answer:
        async with asyncio.timeout(SECONDS):
            status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self._reader.readexactly(int(headers["content-length"]))
        return Answer(int(status.split()[1]), headers, body)

    async def ask(self, data: bytes = GET) -> Answer:
        await self.send(data)
        return await self.answer()

    async def rest(self) -> bytes:
        """All until the server's FIN; a RST would raise ConnectionResetError."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read()

    async def follow(self) -> None:
        """Whatever else the server says, it gets a FIN for its own."""
        with suppress(ConnectionError):
            await self._reader.read()
        self._writer.close()

    async def leave(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class Service:
    """A worker's server around a tiny app, whose slow requests wait for `may_answer`."""

    def __init__(self, listener: socket.socket, tls: ssl.SSLContext | None = None, **given: Any) -> None:
        self.now = 1000.0
        self.listener = listener
        self.seat = Seat()
        self.seat.board = Board(slots=4)
        self.seat.take(self.seat.board.occupy())
        self.events: list[str] = []
        self.slow = 0
        self.may_answer = asyncio.Event()
        self.waits = 0
        app = Accounting(LastResort(self._app), close=lambda record: None)
        options: dict[str, Any] = {"timeout_notify": 10**9, "callback_notify": self._beat, **given}
        config = Config(
            app, interface="asgi3", http=Connection, ws="none", lifespan="on", log_config=None, access_log=False,
            **options,
        )  # fmt: skip
        config.load()
        config.ssl = tls
        self.left_at_once = False
        self.server = WorkerServer(config, self.seat, DRAIN, FINISH, self._leave_at_once)
        self.running: asyncio.Task[None] | None = None
        self._clients: list[Client] = []

    @property
    def row(self) -> State:
        return self.seat.row.state

    async def start(self) -> None:
        self.running = asyncio.create_task(self.server.serve([self.listener]))
        await until(lambda: self.server.started)

    async def client(self) -> Client:
        made = Client(*await asyncio.open_connection(*self.listener.getsockname()))
        self._clients.append(made)
        return made

    async def asking_slowly(self) -> Client:
        """A client whose request is being answered."""
        client = await self.client()
        await client.send(SLOW)
        before = self.slow
        await until(lambda: self.slow == before + 1)
        return client

    def add_sibling(self) -> None:
        """A worker that is ready, and that has more connections than this one: so it is asked first only in need."""
        board = self.seat.board
        row = board.rows[board.occupy()]
        row.move(State.READY)
        row.connections = 1000

    def leave(self, number: int = signal.SIGTERM) -> None:
        """What Gunicorn sends to a worker."""
        self.server.handle_exit(number, None)

    async def refusing(self) -> None:
        """Past the drain: the listeners are closed, and who was in the backlog is a connection."""
        self.now += DRAIN
        await until(lambda: self.listener.fileno() < 0)
        before = self.waits
        is_settled = all(acceptor.is_settled for acceptor in self.server._acceptors)
        await until(lambda: is_settled or self.waits > before)
        await turns()

    async def beats(self) -> None:
        """A step is waited for: wait along, for at least two looks at the clock."""
        before = self.waits
        await until(lambda: self.waits >= before + 2)

    async def ended(self) -> None:
        assert self.running
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(self.running, *(client.follow() for client in self._clients))
        for client in self._clients:
            await client.leave()

    async def _beat(self) -> None:
        self.waits += 1

    def _leave_at_once(self) -> None:
        self.left_at_once = True

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{step}"
                self.events.append(step)
                if step == "startup":
                    self.seat.row.move(State.READY)
                await send({"type": f"lifespan.{step}.complete"})
            return
        if scope["path"] == "/slow":
            self.slow += 1
            await self.may_answer.wait()
        if scope["path"] == "/body":
            while (await receive())["more_body"]:
                pass
        body = LARGE if scope["path"] == "/large" else b"ok"
        length = b"%d" % len(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})


Scenario = Callable[[Service], Coroutine[Any, Any, None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Run a scenario with a server that has started; it must have ended when the scenario has."""
    threshold = gc.get_threshold()

    def play(scenario: Scenario, *, terminating: bool = True, **options: Any) -> None:
        async def run() -> None:
            with closing(open_listener("127.0.0.1:0", "ONNICORN_HTTP__BIND")) as listener:
                service = Service(listener, **options)
                monkeypatch.setattr(module, "monotonic", lambda: service.now)
                await service.start()
                service.seat.board.service.terminating = terminating
                await scenario(service)
                await service.ended()
                assert service.events == ["startup", "shutdown"]

        asyncio.run(run())

    yield play
    gc.set_threshold(*threshold)
    gc.unfreeze()


Play = Callable[..., None]


def test_a_worker_answers_and_keeps_connections_open(play: Play) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        for _ in range(2):
            answer = await client.ask()
            assert (answer.status, answer.body, answer.is_last) == (200, b"ok", False)
        assert service.row is State.READY
        service.leave(signal.SIGINT)

    play(scenario)


def test_the_board_has_the_number_of_connections(play: Play) -> None:
    async def scenario(service: Service) -> None:
        one, two = await service.client(), await service.client()
        await until(lambda: service.seat.row.connections == 2)
        await one.leave()
        await until(lambda: service.seat.row.connections == 1)
        await two.leave()
        await until(lambda: service.seat.row.connections == 0)
        service.leave(signal.SIGINT)

    play(scenario)


def test_asked_to_leave_a_worker_answers_all_for_the_last_time(play: Play, records: list[EventDict]) -> None:
    """Idle, silent, half-sent and new connections, and a request that is under way."""

    async def scenario(service: Service) -> None:
        idle, silent, half = await service.client(), await service.client(), await service.client()
        await idle.ask()
        await half.send(GET[:20])
        slow = await service.asking_slowly()
        service.leave()
        await until(lambda: service.row is State.DRAINING)
        new = await service.client()
        await half.send(GET[20:])
        service.may_answer.set()
        answers = [await idle.ask(), await silent.ask(), await half.answer(), await new.ask(), await slow.answer()]
        assert [(answer.status, answer.body, answer.is_last) for answer in answers] == [(200, b"ok", True)] * 5
        assert [await client.rest() for client in (idle, silent, half, new, slow)] == [b""] * 5
        service.now += DRAIN

    play(scenario)
    assert [record for record in records if record["event"] == "draining"] == [
        {"event": "draining", "log_level": "info", "connections": 4, "quick": False}
    ]


def test_a_worker_is_asked_again_and_again_and_leaves_once(play: Play, records: list[EventDict]) -> None:
    async def scenario(service: Service) -> None:
        for _ in range(3):
            service.leave()
            await turns()
        client = await service.client()
        answer = await client.ask()
        assert [name for name in answer.headers if name == "connection"] == ["connection"]
        service.now += DRAIN

    play(scenario)
    assert [record["event"] for record in records] == ["draining"]


def test_every_answer_says_once_that_it_is_the_last(play: Play) -> None:
    """The base class makes its headers anew once a second."""

    async def scenario(service: Service) -> None:
        service.leave()
        await turns()
        await service.server.on_tick(0)
        await service.server.on_tick(10)
        client = await service.client()
        await client.send(GET)
        assert (await client.rest()).count(b"connection: close") == 1
        service.now += DRAIN

    play(scenario)


def test_the_drain_lasts_as_long_as_it_was_given(play: Play) -> None:
    async def scenario(service: Service) -> None:
        service.leave()
        await turns()
        service.now += DRAIN - 0.25
        assert await service.server.on_tick(1) is False
        assert (await (await service.client()).ask()).status == 200
        service.now += 0.25
        assert await service.server.on_tick(1) is True

    play(scenario)


def test_after_the_drain_what_still_comes_is_told_that_nothing_was_run(play: Play) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        await client.ask()
        service.leave()
        await turns()
        await service.refusing()
        answer = await client.ask()
        problem = json.loads(answer.body)
        assert (answer.status, answer.headers["retry-after"], answer.is_last) == (503, "1", True)
        assert problem == {
            "error": "the service is ending; nothing was run, send the request to another instance",
            "code": "draining",
            "request_id": answer.headers["x-request-id"],
        }
        assert await client.rest() == b""

    play(scenario)


def test_after_the_drain_nobody_can_connect(play: Play) -> None:
    async def scenario(service: Service) -> None:
        address = service.listener.getsockname()
        service.leave()
        await turns()
        await service.refusing()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    play(scenario)


def test_who_waits_in_the_backlog_at_the_end_is_told_that_nothing_was_run(play: Play) -> None:
    """They are accepted before the listener is closed, since the kernel would reset them."""

    async def scenario(service: Service) -> None:
        service.leave()
        await turns()
        for acceptor in service.server._acceptors:
            acceptor.close()  # as if siblings had been waited for
        waiting = [await service.client() for _ in range(3)]
        await service.refusing()
        assert [(await client.ask()).status for client in waiting] == [503] * 3

    play(scenario)


def test_an_answer_that_its_client_still_reads_is_admitted_work(play: Play) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        await client.send(GET.replace(b"/here", b"/large"))
        await until(lambda: any(connection.unsent for connection in service.server._connections()))
        service.leave()
        await turns()
        await service.refusing()
        service.now += module._LINGER
        await service.beats()
        service.now += FINISH - 1
        await service.beats()
        assert (await client.answer()).body == LARGE

    play(scenario)


def test_idle_clients_get_a_fin_and_what_they_send_meanwhile_resets_nothing(play: Play) -> None:
    async def scenario(service: Service) -> None:
        client, silent = await service.client(), await service.client()
        await client.ask()
        service.leave()
        await turns()
        await service.refusing()
        await service.beats()
        service.now += module._LINGER
        assert await client.rest() == b""
        await client.send(GET)
        await service.beats()
        assert await client.rest() == b""
        assert await silent.rest() == b""
        await client.leave()
        await silent.leave()

    play(scenario)


def test_who_does_not_close_after_the_fin_is_not_waited_for_long(play: Play) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        await client.ask()
        service.leave()
        await turns()
        await service.refusing()
        service.now += module._LINGER
        assert await client.rest() == b""
        await service.beats()
        assert service.running
        assert not service.running.done()
        service.now += module._LINGER

    play(scenario)


def test_admitted_work_ends_and_is_answered(play: Play, records: list[EventDict]) -> None:
    async def scenario(service: Service) -> None:
        slow = await service.asking_slowly()
        service.leave()
        await turns()
        await service.refusing()
        service.now += module._LINGER
        await service.beats()
        service.now += FINISH - 1
        await service.beats()
        service.may_answer.set()
        answer = await slow.answer()
        assert (answer.status, answer.body, answer.is_last) == (200, b"ok", True)
        assert await slow.rest() == b""

    play(scenario)
    assert [record["event"] for record in records] == ["draining"]


def test_work_that_does_not_end_in_its_time_is_interrupted(play: Play, records: list[EventDict]) -> None:
    async def scenario(service: Service) -> None:
        slow = await service.asking_slowly()
        service.leave()
        await turns()
        await service.refusing()
        service.now += module._LINGER
        await service.beats()
        service.now += FINISH
        await service.beats()
        service.now += module._LINGER
        answer = await slow.answer()
        problem = json.loads(answer.body)
        assert (answer.status, problem["code"]) == (500, "interrupted")
        assert await slow.rest() == b""

    play(scenario)
    assert [record for record in records if record["event"] == "requests_abandoned"] == [
        {"event": "requests_abandoned", "log_level": "warning", "requests": 1}
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_end_does_not_drain(play: Play, records: list[EventDict], number: int) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        await client.ask()
        service.leave(number)
        assert await client.rest() == b""

    play(scenario)
    assert [record for record in records if record["event"] == "draining"] == [
        {"event": "draining", "log_level": "info", "connections": 1, "quick": True}
    ]


def test_a_drain_can_be_made_quick(play: Play) -> None:
    async def scenario(service: Service) -> None:
        service.leave()
        await turns()
        assert await service.server.on_tick(1) is False
        service.leave(signal.SIGINT)
        assert await service.server.on_tick(1) is True

    play(scenario)


def test_an_idle_connection_is_closed_after_its_time(play: Play) -> None:
    async def scenario(service: Service) -> None:
        client, silent = await service.client(), await service.client()
        await client.ask()
        for _ in range(3):
            service.now += 1
            await service.server.on_tick(1)
        assert await client.rest() == b""
        assert silent in service._clients
        assert len(service.server.server_state.connections) == 1
        service.leave(signal.SIGINT)

    play(scenario, timeout_keep_alive=1)


def test_a_body_that_does_not_come_is_not_waited_for_until_the_end(play: Play) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        await client.send(b"POST /body HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n")
        await until(lambda: service.server.server_state.tasks)
        service.leave()
        await turns()
        await service.refusing()
        while service.server.server_state.tasks:
            service.now += 1
            await service.beats()
        answer = await client.answer()
        assert (answer.status, answer.is_last) == (408, True)
        assert await client.rest() == b""
        await client.leave()

    play(scenario)


def test_a_quick_end_waits_a_little_for_admitted_work(play: Play) -> None:
    async def scenario(service: Service) -> None:
        slow = await service.asking_slowly()
        service.leave(signal.SIGINT)
        await service.beats()
        service.now += module._QUICK - 0.25
        await service.beats()
        service.may_answer.set()
        assert (await slow.answer()).status == 200

    play(scenario)


def test_a_quick_end_interrupts_what_takes_longer(play: Play) -> None:
    async def scenario(service: Service) -> None:
        slow = await service.asking_slowly()
        service.leave(signal.SIGQUIT)
        await service.beats()
        service.now += module._QUICK
        assert json.loads((await slow.answer()).body)["code"] == "interrupted"

    play(scenario)


def test_a_server_whose_heart_nobody_listens_to_ends_too(play: Play) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        await client.ask()
        service.leave()
        await turns()
        await service.refusing()
        service.now += module._LINGER
        assert await client.rest() == b""
        await client.leave()

    play(scenario, callback_notify=None)


def test_a_worker_that_ends_alone_answers_its_own_clients_and_leaves_new_ones_to_its_siblings(
    play: Play, listeners: list[socket.socket]
) -> None:
    async def scenario(service: Service) -> None:
        listeners.append(service.listener.dup())
        service.add_sibling()
        idle, half = await service.client(), await service.client()
        await idle.ask()
        await half.send(GET[:20])
        service.leave()
        await until(lambda: service.row is State.DRAINING)
        await half.send(GET[20:])
        for answer in (await idle.ask(), await half.answer()):
            assert (answer.status, answer.is_last) == (200, True)
        address = service.listener.getsockname()
        service.now += DRAIN
        await until(lambda: service.listener.fileno() < 0)
        new = Client(*await asyncio.open_connection(*address))
        theirs, _ = listeners[0].accept()
        with theirs:
            await new.send(GET)
            assert theirs.recv(len(GET)) == GET
        await new.leave()

    play(scenario, terminating=False)


def test_a_worker_that_ends_alone_takes_what_nobody_else_is_there_for(play: Play) -> None:
    async def scenario(service: Service) -> None:
        service.leave()
        await until(lambda: service.row is State.DRAINING)
        answer = await (await service.client()).ask()
        assert (answer.status, answer.is_last) == (200, True)
        service.now += DRAIN

    play(scenario, terminating=False)


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    """Those that the siblings hold, and the master."""
    held: list[socket.socket] = []
    yield held
    for listener in held:
        listener.close()


def test_the_last_of_the_requests_that_a_worker_may_answer_is_its_end(play: Play, records: list[EventDict]) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        await client.ask()
        await client.ask()
        await until(lambda: service.row is State.DRAINING)
        answer = await client.ask()
        assert (answer.status, answer.is_last) == (200, True)
        service.now += DRAIN

    play(scenario, terminating=False, limit_max_requests=2)
    assert [record["event"] for record in records] == ["draining"]


def test_an_orphan_does_not_serve(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(service: Service) -> None:
        client = await service.client()
        await client.ask()
        with monkeypatch.context() as patched:
            patched.setattr(os, "getppid", lambda: 1 << 30)
            assert await client.rest() == b""

    play(scenario)


def test_signals_of_the_process_are_its_own(play: Play) -> None:
    """The base class would raise them again at its end, and then no hook of Gunicorn's would run."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))

    async def scenario(service: Service) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: service.row is State.DRAINING)
        service.now += DRAIN

    try:
        play(scenario)
        assert seen == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_who_does_not_serve_yet_leaves_at_once(number: int, records: list[EventDict]) -> None:
    async def scenario() -> None:
        with closing(open_listener("127.0.0.1:0", "ONNICORN_HTTP__BIND")) as listener:
            service = Service(listener)
            service.leave(number)
            assert not service.left_at_once  # a signal's handler may interrupt anything
            await turns()
            assert service.left_at_once
            assert service.row is State.STOPPED

    asyncio.run(scenario())
    assert records == []


def test_who_is_forked_while_the_service_ends_leaves_at_once() -> None:
    """Gunicorn's signal to it may have been lost in the fork."""

    async def scenario() -> None:
        with closing(open_listener("127.0.0.1:0", "ONNICORN_HTTP__BIND")) as listener:
            service = Service(listener)
            service.seat.board.service.terminating = True
            service.server._leave_at_once = sys.exit
            with pytest.raises(SystemExit):
                await service.server.serve([listener])
            assert service.row is State.STOPPED
            assert service.events == []

    asyncio.run(scenario())


def test_a_worker_with_a_thread_that_never_ends_leaves_by_itself(play: Play, records: list[EventDict]) -> None:
    async def scenario(service: Service) -> None:
        slow = await service.asking_slowly()
        service.seat.is_stuck = True
        await until(lambda: service.row is State.DRAINING)
        service.may_answer.set()
        assert (await slow.answer()).is_last
        service.now += DRAIN

    play(scenario, terminating=False)
    assert [record["event"] for record in records] == ["draining"]


def test_a_handshake_that_does_not_end_does_not_hold_up_the_end(play: Play) -> None:
    async def scenario(service: Service) -> None:
        silent = await service.client()
        [acceptor] = service.server._acceptors
        await until(lambda: not acceptor.is_settled)
        service.leave(signal.SIGINT)
        await service.beats()
        assert not acceptor.is_settled
        service.now += module._HANDSHAKE
        assert await silent.rest() == b""

    play(scenario, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_new_connections_are_left_to_siblings_that_hold_fewer_until_it_is_clear_that_those_do_not_come(
    play: Play,
) -> None:
    async def scenario(service: Service) -> None:
        await (await service.client()).ask()
        board = service.seat.board
        board.rows[board.occupy()].move(State.READY)
        [acceptor] = service.server._acceptors
        client = await service.client()
        await until(lambda: acceptor._patience == 0)
        assert (await client.ask()).status == 200
        service.leave(signal.SIGINT)

    play(scenario)


async def refuse_to_start(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no models"})


async def fail_to_start(monkeypatch: pytest.MonkeyPatch, leave: bool, *, started: bool) -> int:
    """The exit code. Time passes only as long as it is waited."""
    now = [1000.0]

    async def beat() -> None:
        if leave:
            server.handle_exit(signal.SIGTERM, None)
        else:
            now[0] += module._BACK_OFF / 2

    config = Config(
        refuse_to_start, http=Connection, lifespan="on", log_config=None, callback_notify=beat, timeout_notify=10**9
    )
    config.load()
    seat = Seat()
    seat.board.service.started = started
    left: list[bool] = []
    server = WorkerServer(config, seat, DRAIN, FINISH, lambda: left.append(True))
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    with pytest.raises(SystemExit) as caught:
        await server.serve([])
    assert left == [True] * leave
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_a_first_start_that_fails_ends_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(fail_to_start(monkeypatch, False, started=False)) == STARTUP_FAILURE


@pytest.mark.parametrize("leave", [False, True])
def test_a_later_start_that_fails_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch, leave: bool) -> None:
    assert asyncio.run(fail_to_start(monkeypatch, leave, started=True)) == module._TRY_AGAIN
