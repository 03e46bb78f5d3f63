"""The load generator. Runs in a process and on a core of its own.

`closed` keeps a number of requests under way: it finds CPU time per request, and how much a server can do at most.
`open_loop` sends at times that are fixed beforehand, whatever the server does, and counts a latency from the time when
a request was *meant* to be sent. A generator that waits for an answer before it sends the next request (a closed loop)
sends less while the server stalls, and so hides the very stall that it should show: coordinated omission.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import inf
from time import perf_counter
from typing import Any, Final

import numpy as np
import uvloop

# A server that has stopped answering must not hold the benchmark for ever.
_PATIENCE_SECONDS: Final = 30
# Longer than the handling of all answers that may lie there at once.
_AWAY_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class Load:
    """What was sent and how it went. Latencies are seconds.

    `away` is the share of the time that an open loop's generator did not have its core: where it comes near the share
    that a percentile leaves out, that percentile tells of the machine and not of the server.
    """

    requests: int
    failures: int
    seconds: float
    p50: float
    p99: float
    away: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def closed(port: int, requests: Sequence[bytes], concurrency: int, seconds: float) -> Load:
    """Keep `concurrency` requests under way; send none after `seconds`, and wait for those that are."""
    return uvloop.run(_measured(lambda flow: _closed(flow, requests, seconds), port, concurrency))


def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int = 64) -> Load:
    """Send `rate` requests a second, at random times as independent callers do (a Poisson process, always the same)."""
    times = np.cumsum(np.random.default_rng(0).exponential(1 / rate, max(1, int(rate * seconds))))
    return uvloop.run(_measured(lambda flow: _open(flow, requests, times.tolist()), port, connections))


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time: as much of HTTP/1.1 as the servers here answer with."""

    def __init__(self, flow: "_Flow") -> None:
        self._flow = flow
        self._head = b""
        self._left = 0
        self.due = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._flow.free.put_nowait(self)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self._left:
            data = self._head = self._head + data
            if b"\r\n\r\n" not in data:
                return
            self._left = _length(data)
        self._left -= len(data)
        if not self._left:
            status, self._head = int(self._head[9:12]), b""
            self._flow.answered(self, status)

    def connection_lost(self, error: Exception | None) -> None:
        self._flow.lost(error or ConnectionError("the server closed a connection that it should have kept"))


class _Flow:
    """The connections that are free to send, and what came back on the others."""

    def __init__(self) -> None:
        self.free: asyncio.Queue[_Connection] = asyncio.Queue()
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.failures = 0
        self.away = 0.0
        self._looked = inf

    def look(self) -> float:
        """The time. An open loop asks for it every few microseconds, unless something else has its core."""
        now = perf_counter()
        if now - self._looked > _AWAY_SECONDS:
            self.away += now - self._looked
        self._looked = now
        return now

    def answered(self, connection: _Connection, status: int) -> None:
        self.latencies.append(perf_counter() - connection.due)
        self.failures += status != 200
        self.free.put_nowait(connection)

    def lost(self, error: Exception) -> None:
        if not self.broken.done():
            self.broken.set_exception(error)


async def _closed(flow: _Flow, requests: Sequence[bytes], seconds: float) -> None:
    end = perf_counter() + seconds
    for request in cycle(requests):
        connection = await flow.free.get()
        if (now := perf_counter()) >= end:
            flow.free.put_nowait(connection)
            return
        connection.send(request, now)


async def _open(flow: _Flow, requests: Sequence[bytes], times: Sequence[float]) -> None:
    start = flow.look()
    for request, time in zip(cycle(requests), times, strict=False):
        due = start + time
        # Asks again and again instead of setting a timer: libuv's timers count in milliseconds, and the core is ours.
        # Where all connections wait for answers the request waits too, and its latency has begun.
        while flow.look() < due or flow.free.empty():  # noqa: ASYNC110 - an event would wait for such a timer
            await asyncio.sleep(0)
        flow.free.get_nowait().send(request, due)


async def _measured(drive: Callable[[_Flow], Coroutine[Any, Any, None]], port: int, connections: int) -> Load:
    flow = _Flow()
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Connection(flow), "127.0.0.1", port) for _ in range(connections)]
    # The generator's own pauses are not the server's.
    gc.disable()
    started = perf_counter()
    work = asyncio.create_task(_to_the_end(drive, flow, connections))
    await asyncio.wait({work, flow.broken}, timeout=_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    seconds = perf_counter() - started
    gc.enable()
    if flow.broken.done():
        flow.broken.result()
    if not work.done():
        raise TimeoutError(f"{connections - flow.free.qsize()} answers have not come in {_PATIENCE_SECONDS} s")
    work.result()
    flow.broken.cancel()
    for transport, _ in opened:
        transport.abort()
    return _summary(flow, seconds)


async def _to_the_end(drive: Callable[[_Flow], Coroutine[Any, Any, None]], flow: _Flow, connections: int) -> None:
    await drive(flow)
    for _ in range(connections):
        await flow.free.get()


def _summary(flow: _Flow, seconds: float) -> Load:
    p50, p99 = np.percentile(flow.latencies, (50, 99)).tolist()
    return Load(len(flow.latencies), flow.failures, seconds, p50, p99, flow.away / seconds)


def _length(data: bytes) -> int:
    """Of the whole answer whose head is in `data`. Every server here announces its body's length."""
    end = data.index(b"\r\n\r\n")
    head = data[:end].lower()
    start = head.index(b"\r\ncontent-length:") + 17
    return end + 4 + int(head[start : (head + b"\r\n").index(b"\r\n", start)])
