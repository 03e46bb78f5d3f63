"""HTTP/1.1 byte by byte, for what no client would send and for what every client hides."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

from tests.process.conftest import connect


@dataclass(frozen=True)
class WireAnswer:
    """One answer as it came."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Wire:
    """One connection. Whatever blocks for too long raises TimeoutError."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream

    def send(self, *parts: bytes) -> None:
        """Each part in a write of its own."""
        for part in parts:
            self._stream.write(part)
            self._stream.flush()

    def answer(self, has_body: bool = True) -> WireAnswer:
        """The next one. An answer to HEAD and an interim answer have no body."""
        status_line = self._stream.readline()
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        headers = Headers(line.decode().rstrip("\r\n").partition(": ")[::2] for line in self._head())
        size = int(headers.get("content-length", "0")) if has_body else 0
        return WireAnswer(int(status_line.split()[1]), headers, self._stream.read(size))

    def line(self) -> bytes:
        """The next one of an answer's body, its end included."""
        return self._stream.readline()

    def read(self, size: int) -> bytes:
        """So many bytes of it."""
        return self._stream.read(size)

    def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        return self._stream.read()

    def _head(self) -> Iterator[bytes]:
        while (line := self._stream.readline()) not in (b"\r\n", b""):
            yield line


class Headers(dict[str, str]):
    """Header names mean the same in any case."""

    def __init__(self, pairs: Iterator[tuple[str, ...]]) -> None:
        super().__init__((name.lower(), value) for name, value in pairs)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())


@contextmanager
def wire(address: str) -> Iterator[Wire]:
    """`with wire(service.api) as connection:` opens one and closes it."""
    with closing(connect(address)) as connection, connection.makefile("rwb") as stream:
        yield Wire(stream)


def request(method: str, path: str, body: bytes | None = None, *headers: str, version: str = "1.1") -> bytes:
    """The bytes of a request; `Content-Length` comes with the body."""
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    lines = [f"{method} {path} HTTP/{version}", "Host: here", *length, *headers, "", ""]
    return "\r\n".join(lines).encode() + (body or b"")
