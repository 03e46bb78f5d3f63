"""Addresses that are opened, and the sentences about those that are not."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import AddressUnavailable
from service.supervision.listener import held, open_listener

VARIABLE = "ONNICORN_OPS__BIND"
INTERFACES = Path("/proc/net/if_inet6")
HAS_IPV6 = INTERFACES.exists() and f"{1:032x}" in INTERFACES.read_text()


@pytest.fixture
def taken() -> Iterator[str]:
    """An address on which somebody listens."""
    with closing(open_listener("127.0.0.1:0", VARIABLE)) as listener:
        yield address_of(listener)


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def refusal(address: str) -> str:
    with pytest.raises(AddressUnavailable) as caught:
        open_listener(address, VARIABLE)
    return str(caught.value)


def in_use(address: str) -> str:
    return f"cannot listen on {address}: it is in use already; set {VARIABLE} to a free address"


def connect(listener: socket.socket) -> None:
    """As a client; raises if nobody listens."""
    with socket.socket(listener.family, socket.SOCK_STREAM) as client:
        client.settimeout(60)
        client.connect(listener.getsockname())


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0", "unix:"])
def test_a_free_address_is_listened_on(tmp_path: Path, address: str) -> None:
    if address == "[::1]:0" and not HAS_IPV6:
        pytest.skip("this machine has no IPv6")
    address = f"unix:{tmp_path}/sock" if address == "unix:" else address
    with closing(open_listener(address, VARIABLE)) as listener:
        assert not listener.getblocking()
        connect(listener)


def test_an_address_in_use_is_named_with_its_variable(taken: str) -> None:
    assert refusal(taken) == in_use(taken)


def test_an_address_that_was_closed_a_moment_ago_is_free() -> None:
    with closing(open_listener("127.0.0.1:0", VARIABLE)) as listener:
        address = address_of(listener)
        with socket.create_connection(listener.getsockname(), 60):
            listener.setblocking(True)
            listener.accept()[0].close()
    open_listener(address, VARIABLE).close()


def test_a_socket_file_in_use_is_named(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/sock"
    with closing(open_listener(address, VARIABLE)):
        assert refusal(address) == in_use(address)


def test_a_socket_file_of_a_dead_service_is_replaced(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/sock"
    open_listener(address, VARIABLE).close()
    assert (tmp_path / "sock").exists()
    with closing(open_listener(address, VARIABLE)) as listener:
        connect(listener)


def test_a_path_that_cannot_be_a_socket_is_named(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/none/sock"
    assert refusal(address) == (
        f"cannot listen on {address}: No such file or directory; set {VARIABLE} to a free address"
    )


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_text("precious")
    assert refusal(f"unix:{file}") == in_use(f"unix:{file}")
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("address", "word"),
    [("a..b:80", "label"), (f"{'x' * 64}.example:80", "label"), (f"unix:/tmp/{'x' * 200}", "path too long")],
)
def test_an_address_that_the_system_cannot_write_is_named(address: str, word: str) -> None:
    """The reason is in Python's words, which change with its version."""
    sentence = rf"cannot listen on {re.escape(address)}: .*{word}.*; set {VARIABLE} to a free address"
    assert re.fullmatch(sentence, refusal(address))


def test_an_address_of_another_machine_is_named() -> None:
    assert refusal("192.0.2.1:0") == (
        f"cannot listen on 192.0.2.1:0: Cannot assign requested address; set {VARIABLE} to a free address"
    )


def test_a_held_address_is_in_use_and_then_free(tmp_path: Path) -> None:
    with closing(open_listener("127.0.0.1:0", VARIABLE)) as listener:
        free = address_of(listener)
    for address in (free, f"unix:{tmp_path}/sock"):
        with held(address, VARIABLE):
            assert refusal(address) == in_use(address)
        open_listener(address, VARIABLE).close()


def test_a_held_socket_file_is_taken_away(tmp_path: Path) -> None:
    with pytest.raises(LookupError), held(f"unix:{tmp_path}/sock", VARIABLE):
        raise LookupError
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_use_cannot_be_held(taken: str) -> None:
    with pytest.raises(AddressUnavailable), held(taken, VARIABLE):
        raise AssertionError("it is held")
