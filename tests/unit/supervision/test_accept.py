"""New connections go to the worker that holds the fewest, and to somebody in any case."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from structlog.typing import EventDict

from service.board import Board
from service.rows import State, WorkerRow
from service.supervision import accept
from service.supervision.accept import Acceptor, others_hold_fewer
from service.supervision.listener import open_listener
from tests.unit.loop import SECONDS, let_pass, turns, until

NEVER: Callable[[int], bool] = lambda accepted: False  # noqa: E731
ALWAYS: Callable[[int], bool] = lambda accepted: True  # noqa: E731

Connections = asyncio.Queue[asyncio.Transport]


def answering(*answers: bool) -> Callable[[int], bool]:
    left = iter(answers)
    return lambda accepted: next(left)


class Taken(asyncio.Protocol):
    """A connection that was accepted puts itself into the queue."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._connections.put_nowait(transport)


class House:
    """A listening socket, its acceptor, and the clients that knock."""

    def __init__(self, listener: socket.socket, leave_to_others: Callable[[int], bool]) -> None:
        self.listener = listener
        self.connections: Connections = asyncio.Queue()
        self.acceptor = Acceptor(listener, lambda: Taken(self.connections), leave_to_others, None)
        self._clients: list[socket.socket] = []
        self._taken: list[asyncio.Transport] = []

    def knock(self, times: int = 1) -> list[str]:
        """So many clients; their names, by which the other side knows them."""
        clients = [socket.create_connection(self.listener.getsockname(), SECONDS) for _ in range(times)]
        self._clients += clients
        return [name_of(client.getsockname()) for client in clients]

    async def taken(self, count: int = 1) -> list[str]:
        """The clients that are let in next."""
        async with asyncio.timeout(SECONDS):
            transports = [await self.connections.get() for _ in range(count)]
        self._taken += transports
        return [name_of(transport.get_extra_info("peername")) for transport in transports]

    def close(self) -> None:
        self.acceptor.close()
        for transport in self._taken:
            transport.close()
        for client in self._clients:
            client.close()


def name_of(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def play(
    scenario: Callable[[House], Coroutine[Any, Any, None]], leave_to_others: Callable[[int], bool] = NEVER
) -> None:
    async def run() -> None:
        with closing(open_listener("127.0.0.1:0", "ONNICORN_HTTP__BIND")) as listener:
            house = House(listener, leave_to_others)
            await scenario(house)
            house.close()
            await turns()

    asyncio.run(run())


def worker(board: Board, connections: int, state: State = State.READY) -> WorkerRow:
    row = board.rows[board.occupy()]
    if state is not State.STARTING:
        row.move(State.READY)
    if state not in (State.STARTING, State.READY):
        row.move(state)
    row.connections = connections
    return row


def silence(row: WorkerRow, seconds: float) -> None:
    row._words[3] -= int(seconds * 1e9)


@pytest.mark.parametrize(
    ("own", "others", "fewer"),
    [
        (0, [0, 0], False),
        (0, [], False),
        (1, [], False),
        (1, [1, 2], False),
        (1, [1, 0], True),
        (3, [2, 9], True),
        (9, [9, 10], False),
    ],
)
def test_others_hold_fewer_when_one_of_them_does(own: int, others: list[int], fewer: bool) -> None:
    board = Board(slots=4)
    row = worker(board, own)
    for connections in others:
        worker(board, connections)
    assert others_hold_fewer(board, row) is fewer


def test_what_a_worker_has_just_accepted_counts_against_it_but_it_is_not_its_own_rival() -> None:
    board = Board(slots=4)
    row = worker(board, 1)
    assert not others_hold_fewer(board, row, accepted=3)
    worker(board, 3)
    assert not others_hold_fewer(board, row, accepted=2)
    assert others_hold_fewer(board, row, accepted=3)


@pytest.mark.parametrize(
    ("state", "fewer"),
    [(State.STARTING, False), (State.READY, True), (State.DRAINING, False), (State.STOPPED, False)],
)
def test_only_workers_that_are_ready_take_connections(state: State, fewer: bool) -> None:
    board = Board(slots=4)
    row = worker(board, 5)
    worker(board, 1, state)
    assert others_hold_fewer(board, row) is fewer


@pytest.mark.parametrize(("seconds", "fewer"), [(0, True), (4, True), (6, False)])
def test_a_worker_whose_heart_does_not_beat_takes_no_connections(seconds: float, fewer: bool) -> None:
    board = Board(slots=4)
    row = worker(board, 5)
    silence(worker(board, 1), seconds)
    assert others_hold_fewer(board, row) is fewer


def test_a_worker_that_is_gone_holds_nothing() -> None:
    board = Board(slots=4)
    row, gone = worker(board, 5), worker(board, 1)
    assert others_hold_fewer(board, row)
    gone.clear()
    assert not others_hold_fewer(board, row)


def test_a_connection_is_taken() -> None:
    async def scenario(house: House) -> None:
        names = house.knock()
        assert await house.taken() == names

    play(scenario)


def test_connections_are_taken_in_the_order_they_came() -> None:
    async def scenario(house: House) -> None:
        names = house.knock(20)
        assert await house.taken(20) == names

    play(scenario)


def test_the_protocol_can_talk_over_the_connection() -> None:
    async def scenario(house: House) -> None:
        house.knock()
        async with asyncio.timeout(SECONDS):
            transport = await house.connections.get()
        transport.write(b"hello")
        [client] = house._clients
        assert await asyncio.get_running_loop().run_in_executor(None, client.recv, 5) == b"hello"
        transport.close()

    play(scenario)


def test_a_connection_is_left_to_others_a_few_times_and_then_taken() -> None:
    asked: list[int] = []

    def leave(accepted: int) -> bool:
        asked.append(len(asked))
        return True

    async def scenario(house: House) -> None:
        names = house.knock()
        assert await house.taken() == names
        assert asked == [0, 1, 2]
        names = house.knock()
        assert await house.taken() == names
        assert asked == [0, 1, 2, 3, 4, 5]

    play(scenario, leave)


def test_a_connection_that_is_left_to_others_is_theirs() -> None:
    async def scenario(house: House) -> None:
        [name] = house.knock()
        await turns()
        assert house.connections.empty()
        with house.listener.accept()[0] as theirs:
            assert name_of(theirs.getpeername()) == name
        names = house.knock()
        assert await house.taken() == names

    play(scenario, answering(True, False, False))


def test_those_who_wait_are_taken_together() -> None:
    """A busy loop comes by seldom. It is said how many have been taken that nobody has counted yet."""
    asked: list[int] = []

    def leave(accepted: int) -> bool:
        asked.append(accepted)
        return accepted > 2

    async def scenario(house: House) -> None:
        names = house.knock(5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asked[:4] == [0, 1, 2, 3]
        assert sorted(await house.taken(5)) == sorted(names)

    play(scenario, leave)


def test_nobody_is_taken_after_the_end() -> None:
    async def scenario(house: House) -> None:
        house.acceptor.close()
        house.knock()
        await turns()
        assert house.connections.empty()

    play(scenario)


def test_nobody_is_taken_after_an_end_that_comes_while_others_are_waited_for() -> None:
    async def scenario(house: House) -> None:
        house.knock()
        await turns()
        house.acceptor.close()
        let_pass(3600)
        await turns()
        assert house.connections.empty()

    play(scenario, answering(True, False))


def test_the_backlog_can_be_taken_at_once_whatever_others_hold() -> None:
    async def scenario(house: House) -> None:
        names = house.knock(10)
        house.acceptor.take_backlog()
        house.acceptor.close()
        await until(lambda: house.acceptor.is_settled)
        assert house.connections.qsize() == 10
        assert await house.taken(10) == names

    play(scenario, ALWAYS)


def test_there_is_nothing_to_wait_for_when_nobody_has_come() -> None:
    async def scenario(house: House) -> None:
        house.acceptor.take_backlog()
        house.acceptor.close()
        await until(lambda: house.acceptor.is_settled)

    play(scenario)


class Broken(socket.socket):
    """Accepting fails for these reasons first."""

    def __init__(self, listener: socket.socket, *errors: OSError) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.detach())
        self.errors = list(errors)

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


@contextmanager
def broken(*errors: OSError) -> Iterator[Broken]:
    with closing(Broken(open_listener("127.0.0.1:0", "ONNICORN_HTTP__BIND"), *errors)) as listener:
        listener.setblocking(False)
        yield listener


TOO_MANY = OSError(errno.EMFILE, "Too many open files")


def test_without_open_files_to_spare_nothing_is_accepted_for_a_moment(records: list[EventDict]) -> None:
    async def scenario() -> None:
        with broken(TOO_MANY, TOO_MANY) as listener:
            house = House(listener, NEVER)
            names = house.knock()
            await until(lambda: len(listener.errors) == 1)
            await turns()
            assert len(listener.errors) == 1
            let_pass(accept._SHORTAGE)
            await until(lambda: not listener.errors)
            await turns()
            assert house.connections.empty()
            let_pass(accept._SHORTAGE)
            assert await house.taken() == names
            house.close()
            await turns()

    asyncio.run(scenario())
    assert records == [{"event": "accept_failed", "log_level": "error", "reason": "[Errno 24] Too many open files"}] * 2


def test_the_end_of_a_worker_does_not_stumble_over_its_backlog() -> None:
    async def scenario() -> None:
        with broken(TOO_MANY) as listener:
            house = House(listener, ALWAYS)
            house.knock(2)
            house.acceptor.take_backlog()
            house.acceptor.close()
            await until(lambda: house.acceptor.is_settled)
            assert house.connections.empty()
            house.close()

    asyncio.run(scenario())


def test_a_client_that_speaks_no_tls_is_no_error_of_ours(records: list[EventDict]) -> None:
    unheard: list[Any] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context["message"]))
        with closing(open_listener("127.0.0.1:0", "ONNICORN_HTTP__BIND")) as listener:
            acceptor = Acceptor(listener, asyncio.Protocol, NEVER, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            with socket.create_connection(listener.getsockname(), SECONDS) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
                await until(lambda: records)
            acceptor.close()
            await until(lambda: acceptor.is_settled)

    asyncio.run(scenario())
    assert unheard == []
    assert [(record["event"], record["log_level"]) for record in records] == [("handshake_failed", "debug")]


def test_a_client_that_does_not_speak_tls_or_anything_else_is_not_waited_for(records: list[EventDict]) -> None:
    async def scenario() -> None:
        with closing(open_listener("127.0.0.1:0", "ONNICORN_HTTP__BIND")) as listener:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            acceptor = Acceptor(listener, asyncio.Protocol, NEVER, tls, handshake_seconds=5)
            with socket.create_connection(listener.getsockname(), SECONDS):
                await until(lambda: not acceptor.is_settled)
                await turns()
                let_pass(5)
                await until(lambda: acceptor.is_settled)
            acceptor.close()

    asyncio.run(scenario())
    assert [record["event"] for record in records] == ["handshake_failed"]


def test_a_client_that_has_given_up_does_not_matter_to_the_next(records: list[EventDict]) -> None:
    async def scenario() -> None:
        with broken(ConnectionAbortedError()) as listener:
            house = House(listener, NEVER)
            names = house.knock()
            assert await house.taken() == names
            house.close()
            await turns()

    asyncio.run(scenario())
    assert records == []


def test_an_error_of_one_client_is_none_of_the_others(records: list[EventDict]) -> None:
    async def scenario() -> None:
        with broken(OSError(errno.EHOSTUNREACH, "No route to host")) as listener:
            house = House(listener, NEVER)
            names = house.knock()
            assert await house.taken() == names
            house.close()
            await turns()

    asyncio.run(scenario())
    assert records == []


def test_of_too_many_handshakes_the_longest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "_MOST_HANDSHAKES", 2)

    async def scenario() -> None:
        with closing(open_listener("127.0.0.1:0", "ONNICORN_HTTP__BIND")) as listener:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            acceptor = Acceptor(listener, asyncio.Protocol, NEVER, tls, handshake_seconds=5)
            knocking = [socket.create_connection(listener.getsockname(), SECONDS) for _ in range(5)]
            clients = [await asyncio.open_connection(sock=each) for each in knocking]
            async with asyncio.timeout(SECONDS):
                for reader, _ in clients[:3]:
                    with suppress(ConnectionResetError):
                        assert await reader.read() == b""
            assert len(acceptor._tasks) == 2
            for _, writer in clients:
                writer.close()
            acceptor.close()
            await until(lambda: acceptor.is_settled)

    asyncio.run(scenario())


def test_a_client_that_has_given_up_does_not_end_the_backlog() -> None:
    """Those who wait behind it would be reset when the listener is closed."""

    async def scenario() -> None:
        with broken(ConnectionAbortedError(errno.ECONNABORTED, "aborted")) as listener:
            house = House(listener, ALWAYS)
            names = house.knock(2)
            house.acceptor.take_backlog()
            house.acceptor.close()
            await until(lambda: house.acceptor.is_settled)
            assert house.connections.qsize() == 2
            assert await house.taken(2) == names
            house.close()

    asyncio.run(scenario())
