"""Addresses: open one, or find out why it cannot be opened."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import AddressUnavailable

_BACKLOG = 128


def open_listener(address: str, variable: str) -> socket.socket:
    """Listen on `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Raises AddressUnavailable, which names `variable`."""
    try:
        return _open_unix(address.removeprefix("unix:")) if address.startswith("unix:") else _open_tcp(address)
    except (OSError, UnicodeError) as error:
        raise AddressUnavailable(
            f"cannot listen on {address}: {_reason(error)}; set {variable} to a free address"
        ) from None


@contextmanager
def held(address: str, variable: str) -> Iterator[None]:
    """Listen there while the block runs: proof that Gunicorn can, which itself would try for five seconds."""
    listener = open_listener(address, variable)
    try:
        yield
    finally:
        listener.close()
        if address.startswith("unix:"):
            Path(address.removeprefix("unix:")).unlink()


def _open_tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family, kind, protocol, _, name = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(name)
        return _listening(listener)
    except OSError:
        listener.close()
        raise


def _open_unix(path: str) -> socket.socket:
    """A socket file that nobody listens on is left over from a dead service, and is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket() and not _answers(path):
            Path(path).unlink()
        listener.bind(path)
        return _listening(listener)
    except OSError:
        listener.close()
        raise


def _listening(listener: socket.socket) -> socket.socket:
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "it is in use already"
    return (isinstance(error, OSError) and error.strerror) or str(error)
