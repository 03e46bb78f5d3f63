"""When what is read has come, by the kernel's account."""

import socket
import struct
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from service.supervision import unread
from service.supervision.unread import Heard

# The kernel counts ticks, of which the slowest there are take 10 ms.
TICK = 0.01


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's and its server's, over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            yield client, server


class Kernel:
    """A socket that heard something so many milliseconds ago."""

    def __init__(self, milliseconds: int) -> None:
        self._info = struct.pack("=52xI", milliseconds)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return self._info[:size]


def test_what_has_lain_unread_has_come_before_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "monotonic", lambda: 100.0)
    assert (Heard(Kernel(0))(), Heard(Kernel(250))()) == (100.0, 99.75)


def test_the_kernel_tells_the_moment_itself_however_late_it_is_asked(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    client, server = sockets
    before = monotonic()
    client.sendall(b"here")
    heard = Heard(server)
    while monotonic() - before < 10 * TICK:
        pass
    assert before - TICK <= heard() <= before + 5 * TICK


def test_reading_does_not_change_it(sockets: tuple[socket.socket, socket.socket]) -> None:
    client, server = sockets
    client.sendall(b"here")
    heard = Heard(server)
    before = heard()
    while monotonic() - before < 10 * TICK:
        pass
    assert server.recv(4) == b"here"
    assert abs(heard() - before) <= 5 * TICK


@pytest.mark.parametrize("connected", [None, "unix", "closed"])
def test_where_the_system_does_not_tell_it_is_now(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "monotonic", lambda: 100.0)
    one, other = socket.socketpair()
    with one, other:
        if connected == "closed":
            one.close()
        assert Heard(connected and one)() == 100.0


def test_a_socket_that_the_loop_has_closed_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def getsockopt(self, *asked: int) -> bytes:
            raise ValueError("negative file descriptor")

    monkeypatch.setattr(unread, "monotonic", lambda: 100.0)
    assert Heard(Closed())() == 100.0
