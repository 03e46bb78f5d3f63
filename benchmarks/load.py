"""The load generator. Runs in a process and on a core of its own.

`closed` keeps a number of requests under way: it finds CPU time per request, and how much a server can do at most.
`open_loop` sends at times that are fixed beforehand, whatever the server does, and counts a latency from the time when
a request was *meant* to be sent. A generator that waits for an answer before it sends the next request (a closed loop)
sends less while the server stalls, and so hides the very stall that it should show: coordinated omission.

An open loop may be told after how many seconds an answer is worth nothing. A request that waits so long for a free
connection is not sent at all; it would only make the next ones later.
"""

import asyncio
import gc
from array import array
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import inf, nan
from time import perf_counter
from typing import Any, Final

import numpy as np
import uvloop

# A server that has stopped answering must not hold the benchmark for ever.
_PATIENCE_SECONDS: Final = 30
# Longer than the handling of all answers that may lie there at once.
_AWAY_SECONDS: Final = 0.002
# What an answer may take from the server to us, and from our socket to our clock, without being the server's lateness.
_ON_THE_WAY_SECONDS: Final = 0.005
# A generator that has fallen behind catches up in steps, and reads what has come between them.
_BURST: Final = 16


@dataclass(frozen=True, slots=True)
class Load:
    """What was answered and how it went. Latencies are seconds, and those of answers with 200; NaN where there is none.

    `away` is the share of the time that an open loop's generator did not have its core: where it comes near the share
    that a percentile leaves out, that percentile tells of the machine and not of the server.

    `good` counts the 200s that came before their deadline, from when they should have been sent; `late` those that came
    after it, from when they were sent in truth, which is all that a server can know. `unsent` never left.
    """

    statuses: Mapping[int, int]
    seconds: float
    p50: float
    p99: float
    away: float
    good: int
    late: int
    unsent: int

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())

    @property
    def served(self) -> int:
        return self.statuses.get(200, 0)

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def share(self, count: int) -> float:
        """Of all that should have been sent."""
        return count / (self.requests + self.unsent)


def closed(port: int, requests: Sequence[bytes], concurrency: int, seconds: float) -> Load:
    """Keep `concurrency` requests under way; send none after `seconds`, and wait for those that are."""
    return uvloop.run(_measured(lambda flow: _closed(flow, requests, seconds), port, concurrency, seconds))


def open_loop(
    port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int = 64, deadline: float = inf
) -> Load:
    """Send `rate` requests a second, at random times as independent callers do (a Poisson process, always the same)."""
    times = np.cumsum(np.random.default_rng(0).exponential(1 / rate, max(1, int(rate * seconds)))).tolist()
    return uvloop.run(_measured(lambda flow: _open(flow, requests, times), port, connections, seconds, deadline))


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time: as much of HTTP/1.1 as the servers here answer with."""

    def __init__(self, flow: "_Flow") -> None:
        self._flow = flow
        self._head = b""
        self._left = 0
        self.due = self.sent = self.away = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._flow.free.put_nowait(self)

    def send(self, request: bytes, due: float, now: float) -> None:
        self.due, self.sent, self.away = due, now, self._flow.away
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
    """The connections that are free to send, and what came back on the others.

    `answers` has a row of floats for each: the status, seconds since it should have been sent, and since it was, and
    for how many of these the generator was away.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.free: asyncio.Queue[_Connection] = asyncio.Queue()
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers = array("d")
        self.unsent = 0
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
        now = self.look()
        self.answers.extend((status, now - connection.due, now - connection.sent, self.away - connection.away))
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
        connection.send(request, now, now)


async def _open(flow: _Flow, requests: Sequence[bytes], times: Sequence[float]) -> None:
    start = flow.look()
    for index, (request, time) in enumerate(zip(cycle(requests), times, strict=False)):
        due = start + time
        if not index % _BURST:
            await asyncio.sleep(0)
        # Asks again and again instead of setting a timer: libuv's timers count in milliseconds, and the core is ours.
        # (An event, which the linter would rather see, would wait for such a timer.)
        # Where all connections wait for answers the request waits too, and its latency has begun.
        while (now := flow.look()) < due or (flow.free.empty() and now < due + flow.deadline):  # noqa: ASYNC110
            await asyncio.sleep(0)
        if now < due + flow.deadline:
            flow.free.get_nowait().send(request, due, now)
        else:
            flow.unsent += 1


async def _measured(
    drive: Callable[[_Flow], Coroutine[Any, Any, None]],
    port: int,
    connections: int,
    seconds: float,
    deadline: float = inf,
) -> Load:
    flow = _Flow(deadline)
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Connection(flow), "127.0.0.1", port) for _ in range(connections)]
    # The generator's own pauses are not the server's.
    gc.disable()
    started = perf_counter()
    work = asyncio.create_task(_to_the_end(drive, flow, connections))
    patience = seconds + _PATIENCE_SECONDS
    await asyncio.wait({work, flow.broken}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    seconds = perf_counter() - started
    gc.enable()
    if flow.broken.done():
        flow.broken.result()
    if not work.done():
        raise TimeoutError(f"{connections - flow.free.qsize()} answers have not come in {patience:g} s")
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
    """`waited` is without the time in which the generator was not there to see the answer."""
    status, latency, since_sent, away = np.array(flow.answers).reshape(-1, 4).T
    served, waited = status == 200, since_sent - away
    p50, p99 = np.percentile(latency[served], (50, 99)).tolist() if served.any() else (nan, nan)
    return Load(
        statuses=dict(Counter(status.astype(int).tolist())),
        seconds=seconds,
        p50=p50,
        p99=p99,
        away=flow.away / seconds,
        good=int((served & (latency <= flow.deadline)).sum()),
        late=int((served & (waited > flow.deadline + _ON_THE_WAY_SECONDS)).sum()),
        unsent=flow.unsent,
    )


def _length(data: bytes) -> int:
    """Of the whole answer whose head is in `data`. Every server here announces its body's length."""
    end = data.index(b"\r\n\r\n")
    head = data[:end].lower()
    start = head.index(b"\r\ncontent-length:") + 17
    return end + 4 + int(head[start : (head + b"\r\n").index(b"\r\n", start)])
