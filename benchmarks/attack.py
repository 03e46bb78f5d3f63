"""The traffic that nobody wants: clients that are slow, greedy, broken or gone. Runs in a process of its own."""

import asyncio
import random
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle, islice, repeat
from time import monotonic
from typing import Any, Final

import uvloop

_PATH: Final = "/v2/models/digits/infer"
_CHUNK: Final = bytes(64 << 10)
_GIGABYTE: Final = 1 << 30
_BOMB_BYTES: Final = 256 << 20
_JSON_BYTES: Final = 32 << 20
_TENSOR: Final = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,64],"data":['

# More than the service gives to a slow head or body by default (10 s).
_PATIENCE_SECONDS: Final = 20
_BETWEEN_SECONDS: Final = 0.05
# close(2) sends RST instead of FIN: on, after no seconds (socket(7), SO_LINGER).
_LINGER: Final = struct.pack("ii", 1, 0)

Outcomes = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Attack:
    """What is sent, about how many seconds apart, and whether the client then resets the connection."""

    chunks: Callable[[], Iterator[bytes]]
    pause: float = 0.0
    resets: bool = False


def _head(*fields: str) -> bytes:
    return "\r\n".join((f"POST {_PATH} HTTP/1.1", "Host: 127.0.0.1", *fields, "\r\n")).encode()


def _slow_head() -> Iterator[bytes]:
    yield b"POST / HTTP/1.1\r\nX-Name: "
    yield from repeat(b"x")


def _slow_body() -> Iterator[bytes]:
    yield _head("Content-Length: 1000000")
    yield from repeat(b" ")


def _bomb() -> Iterator[bytes]:
    body = _zeros()
    yield _head("Content-Encoding: gzip", f"Content-Length: {len(body)}") + body


@cache
def _zeros() -> bytes:
    """A quarter of a megabyte that unfolds to a thousand times as much."""
    coder = zlib.compressobj(9, wbits=31)
    return b"".join((*(coder.compress(_CHUNK) for _ in range(_BOMB_BYTES // len(_CHUNK))), coder.flush()))


def _declared() -> Iterator[bytes]:
    yield _head(f"Content-Length: {_GIGABYTE}")
    yield from repeat(_CHUNK, _GIGABYTE // len(_CHUNK))


def _chunked() -> Iterator[bytes]:
    yield _head("Transfer-Encoding: chunked")
    yield from repeat(b"%x\r\n%s\r\n" % (len(_CHUNK), _CHUNK), _GIGABYTE // len(_CHUNK))


def _half() -> Iterator[bytes]:
    yield _head("Content-Length: 10000") + _CHUNK[:5000]


def _deep() -> Iterator[bytes]:
    body = b'{"inputs":' + b"[" * 100_000
    yield _head(f"Content-Length: {len(body)}") + body


def _repeated(before: bytes, piece: bytes, after: bytes) -> Callable[[], Iterator[bytes]]:
    """JSON of which little is sent, and a reader that is not careful makes much."""

    @cache
    def body() -> bytes:
        return before + piece * (_JSON_BYTES // len(piece)) + after

    def chunks() -> Iterator[bytes]:
        yield _head(f"Content-Length: {len(body())}") + body()

    return chunks


def _empty_strings() -> Iterator[bytes]:
    """As many as fit, for a tensor of one."""
    text = b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":%d}}]}'
    text %= _JSON_BYTES
    yield _head(f"Content-Length: {len(text) + _JSON_BYTES}", f"Inference-Header-Content-Length: {len(text)}") + text
    yield from repeat(_CHUNK, _JSON_BYTES // len(_CHUNK))


def _long_head() -> Iterator[bytes]:
    yield _head()[:-2]
    yield from (b"X-Name-%d: " % index + b"x" * 8000 + b"\r\n" for index in range(128))


def _garbage() -> Iterator[bytes]:
    yield random.randbytes(4096)


ATTACKS: Final[Mapping[str, Attack]] = {
    "slow heads": Attack(_slow_head, pause=1),
    "slow bodies": Attack(_slow_body, pause=1),
    "bombs": Attack(_bomb),
    "1 GB declared": Attack(_declared, pause=0.001),
    "1 GB in chunks": Attack(_chunked, pause=0.001),
    "resets": Attack(_half, resets=True),
    "deep JSON": Attack(_deep),
    "objects": Attack(_repeated(b'{"inputs":[', b'{"a":1},', b"1]}")),
    "arrays": Attack(_repeated(_TENSOR, b"[1],", b"[1]]}]}")),
    "numbers too many": Attack(_repeated(_TENSOR, b"0.5,", b"1]}]}")),
    "texts for numbers": Attack(_repeated(_TENSOR, b'"ab",', b'"ab"]}]}')),
    "empty strings": Attack(_empty_strings),
    "long heads": Attack(_long_head),
    "garbage": Attack(_garbage),
}
_SLOW: Final = (Attack(_slow_head, pause=2), Attack(_slow_body, pause=2))


def attack(port: int, seconds: float, clients: int = 40) -> Outcomes:
    """Each client makes all the attacks in turn, at the same time as the others make others; what came of each."""
    _zeros()
    return asyncio.run(_attack(port, monotonic() + seconds, clients))


def hold(port: int, seconds: float, connections: int) -> int:
    """Hold so many connections, half of them slow with the head and half with the body, and open those anew that the
    service ends. Returns the fewest that there were from the second on in which all have been opened.

    On uvloop, which takes less of the core that it shares with the good clients' generator.
    """
    return uvloop.run(_hold(port, monotonic() + seconds, connections))


@dataclass(eq=False)
class _Client(asyncio.Protocol):
    """Remembers the first line of the answer. Is among those that `wait` as long as it is connected without one."""

    wait: set["_Client"] = field(default_factory=set)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    writable: asyncio.Event = field(default_factory=asyncio.Event)
    line: bytes = b""
    is_lost: bool = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.wait.add(self)
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.line = self.line or data[:12]
        self.wait.discard(self)
        self.answered.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self.wait.discard(self)
        self.answered.set()
        self.writable.set()

    @property
    def outcome(self) -> str:
        if self.line:
            return self.line[9:].decode("latin-1")
        return "closed" if self.answered.is_set() else "no answer"


async def _attack(port: int, end: float, clients: int) -> Outcomes:
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in ATTACKS}

    async def in_turns(first: int) -> None:
        for name in islice(cycle(ATTACKS), first, None):
            if monotonic() >= end:
                return
            outcomes[name][await _attempt(port, ATTACKS[name], min(end, monotonic() + _PATIENCE_SECONDS))] += 1
            await asyncio.sleep(_BETWEEN_SECONDS)

    await asyncio.gather(*map(in_turns, range(clients)))
    return {name: dict(counts) for name, counts in outcomes.items()}


async def _attempt(port: int, attack: Attack, end: float, wait: set[_Client] | None = None) -> str:
    client = _Client(set() if wait is None else wait)
    try:
        await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    except ConnectionError:
        await asyncio.sleep(_BETWEEN_SECONDS)
        return "no connection"
    try:
        async with asyncio.timeout(max(0.0, end - monotonic())):
            await _send(client, attack)
            if attack.resets and not client.is_lost:
                client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                return "reset"
            await client.answered.wait()
    except TimeoutError:
        pass
    finally:
        if not client.is_lost:
            client.transport.abort()
    return client.outcome


async def _send(client: _Client, attack: Attack) -> None:
    """All of it, whatever is answered, as fast as it is taken, unless the service closes the connection."""
    for chunk in attack.chunks():
        await client.writable.wait()
        if client.is_lost or client.transport.is_closing():
            return
        client.transport.write(chunk)
        await asyncio.sleep(attack.pause * random.uniform(0.5, 1.5))


async def _hold(port: int, end: float, connections: int) -> int:
    held: list[int] = []
    wait: set[_Client] = set()

    async def again(index: int) -> None:
        await asyncio.sleep(index / connections)
        while monotonic() < end:
            await _attempt(port, _SLOW[index % len(_SLOW)], end, wait)

    async def count() -> None:
        await asyncio.sleep(1)
        while monotonic() < end - _BETWEEN_SECONDS:
            held.append(len(wait))
            await asyncio.sleep(_BETWEEN_SECONDS)

    await asyncio.gather(count(), *map(again, range(connections)))
    return min(held)
