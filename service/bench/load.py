"""The load generator. Runs in a process of its own, and on a core of its own where there is one.

`closed` keeps a number of requests under way: it finds how much a server can do at most, and CPU time per request.
`open_loop` sends at times that are fixed beforehand, whatever the server does, and counts a latency from the time when
a request was *meant* to be sent. A generator that waits for an answer before it sends the next request (a closed loop)
sends less while the server stalls, and so hides the very stall that it should show: coordinated omission.

An open loop may be told after how many seconds an answer is worth nothing. A request that waits so long for a free
connection is not sent at all; it would only make the next ones later.
"""

import asyncio
import gc
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from math import inf, nan
from time import perf_counter, process_time
from typing import Any, Final

import numpy as np
import uvloop

from service.bench.connection import Connection
from service.bench.endpoint import Endpoint
from service.bench.failures import BenchFailed
from service.bench.tally import Load

# A server that has stopped answering must not hold the benchmark for ever.
_PATIENCE_SECONDS: Final = 30
# Longer than the handling of all answers that may lie there at once.
_AWAY_SECONDS: Final = 0.002
# What an answer may take from the server to us, and from our socket to our clock, without being the server's lateness.
_ON_THE_WAY_SECONDS: Final = 0.005
# A request that leaves so much after its time did not leave in time.
_DELAYED_SECONDS: Final = 0.001
# A generator that has fallen behind catches up in steps, and reads what has come between them.
_BURST: Final = 16
# Their times and answers are kept in memory, about 100 bytes each.
_MOST_REQUESTS: Final = 10_000_000
_NONE: Final = (nan, nan, nan, nan)

Drive = Coroutine[Any, Any, None]


def closed(endpoint: Endpoint, requests: Sequence[bytes], concurrency: int, seconds: float, warm_up: float = 0) -> Load:
    """Keep `concurrency` requests under way; send none after `seconds`, and wait for those that are.

    After `warm_up` seconds as many are under way as at the end, and what is answered in between counts, whenever it was
    sent: a slow server would do less than it does otherwise. Without a warm-up every answer counts.
    """

    async def measured() -> Load:
        flow = _Flow(endpoint)
        return await _measured(flow, _closed(flow, requests, warm_up, seconds), concurrency, warm_up + seconds)

    return uvloop.run(measured())


def open_loop(
    endpoint: Endpoint,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    connections: int = 64,
    deadline: float = inf,
    warm_up: float = 0,
    nap: float = 0,
) -> Load:
    """Send `rate` requests a second, at random times as independent callers do (a Poisson process, always the same).

    The requests of about `warm_up` seconds before are not counted. A generator that has no core of its own naps for so
    many seconds between its looks at the clock: otherwise it would take its core from the server.
    """
    before, count = int(rate * warm_up), max(1, int(rate * seconds))
    if before + count > _MOST_REQUESTS:
        raise BenchFailed(f"{count:,} requests are more than can be planned at once: take fewer --seconds")
    lead = before / rate
    times = [*_times(before, rate), *(lead + moment for moment in _times(count, rate))]

    async def measured() -> Load:
        flow = _Flow(endpoint, deadline)
        drive = _open(flow, requests, times, lead, nap)
        return await _measured(flow, drive, connections, lead + count / rate)

    return uvloop.run(measured())


def _times(count: int, rate: float) -> list[float]:
    """As many as a Poisson process has in `count / rate` seconds on average; where in them each lies is random."""
    sums = np.cumsum(np.random.default_rng(0).exponential(1, count + 1))
    found: list[float] = (sums[:-1] / sums[-1] * count / rate).tolist()
    return found


class _Flow:
    """The connections that are free to send, and what came back on the others.

    `answers` has a row of floats for each request that was due after `since`: the status, seconds since it should have
    been sent, and since it was, and for how many of these the generator was away. Where counting ends at `until`, those
    that were answered after `since` have one.
    """

    def __init__(self, endpoint: Endpoint, deadline: float = inf) -> None:
        self.endpoint = endpoint
        self.deadline = deadline
        self.since, self.until = -inf, inf
        self.free: asyncio.Queue[Connection] = asyncio.Queue()
        self.answers = array("d")
        self.unsent = 0
        self.away = 0.0
        self._looked = inf
        self._context = endpoint.context()
        self._opening: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(self) -> float:
        """The time. An open loop asks for it every few microseconds, unless something else has its core."""
        now = perf_counter()
        if now - self._looked > _AWAY_SECONDS and now > self.since:
            self.away += now - self._looked
        self._looked = now
        return now

    async def open(self, connection: Connection) -> None:
        host = self.endpoint.host if self.endpoint.is_tls else None
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: connection, self.endpoint.host, self.endpoint.port, ssl=self._context, server_hostname=host
            )
        except OSError as error:
            self.fail(f"no connection can be opened: {error.strerror or error}")

    def answered(self, connection: Connection, status: int) -> None:
        now = self.look()
        moment = connection.due if self.until == inf else now
        if self.since < moment <= self.until:
            self.answers.extend((status, now - connection.due, now - connection.sent, self.away - connection.away))
        self.free.put_nowait(connection)

    def reopen(self, connection: Connection) -> None:
        if not self.failed.done():
            task = asyncio.ensure_future(self.open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def settled(self) -> None:
        """Nothing is being opened any more: a loop that ends meanwhile would wait for it for ever."""
        await asyncio.gather(*self._opening)

    def fail(self, reason: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(BenchFailed(f"{self.endpoint}: {reason}"))


async def _closed(flow: _Flow, requests: Sequence[bytes], warm_up: float, seconds: float) -> None:
    flow.since = perf_counter() + warm_up
    end = flow.since + seconds
    if warm_up:
        flow.until = end
    for request in cycle(requests):
        connection = await flow.free.get()
        if (now := perf_counter()) >= end:
            flow.free.put_nowait(connection)
            return
        connection.send(request, now, now)


async def _open(flow: _Flow, requests: Sequence[bytes], times: Sequence[float], warm_up: float, nap: float) -> None:
    start = perf_counter()
    flow.since = start + warm_up
    for index, (request, moment) in enumerate(zip(cycle(requests), times, strict=False)):
        due = start + moment
        if not index % _BURST:
            await asyncio.sleep(0)
        # Asks again and again instead of setting a timer: libuv's timers count in milliseconds, and the core is ours.
        # (An event, which the linter would rather see, would wait for such a timer.)
        # Where all connections wait for answers the request waits too, and its latency has begun.
        while (now := flow.look()) < due or (flow.free.empty() and now < due + flow.deadline):
            if nap:
                time.sleep(nap)  # noqa: ASYNC251 - for the same reason
            await asyncio.sleep(0)
        if now < due + flow.deadline:
            flow.free.get_nowait().send(request, due, now)
        elif due > flow.since:
            flow.unsent += 1


async def _measured(flow: _Flow, drive: Drive, count: int, seconds: float) -> Load:
    async with _opened(flow, count):
        # The generator's own pauses are not the server's.
        gc.disable()
        started, used = perf_counter(), process_time()
        work = asyncio.create_task(_to_the_end(flow, drive, count))
        patience = seconds + _PATIENCE_SECONDS
        await asyncio.wait({work, flow.failed}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        ended, used = perf_counter(), process_time() - used
        gc.enable()
        if not work.done():
            flow.fail(f"{count - flow.free.qsize()} answers have not come in {patience:g} s")
            work.cancel()
        if flow.failed.done():
            flow.failed.result()
        work.result()
        last = min(max(ended, started + seconds), flow.until)
        return _summary(flow, last - max(started, flow.since), busy=used / (ended - started))


@asynccontextmanager
async def _opened(flow: _Flow, count: int) -> AsyncIterator[None]:
    connections = [Connection(flow) for _ in range(count)]
    try:
        for connection in connections:
            await flow.open(connection)
            if flow.failed.done():
                break
            flow.free.put_nowait(connection)
        yield
    finally:
        flow.failed.cancel()
        await flow.settled()
        for connection in connections:
            connection.close()


async def _to_the_end(flow: _Flow, drive: Drive, count: int) -> None:
    await drive
    for _ in range(count):
        await flow.free.get()


def _summary(flow: _Flow, seconds: float, busy: float) -> Load:
    """`waited` is without the time in which the generator was not there to see the answer."""
    status, latency, since_sent, away = np.array(flow.answers).reshape(-1, 4).T
    served, waited = status == 200, since_sent - away
    p50, p90, p99, longest = np.percentile(latency[served], (50, 90, 99, 100)).tolist() if served.any() else _NONE
    return Load(
        statuses=dict(Counter(status.astype(int).tolist())),
        seconds=seconds,
        p50=p50,
        p90=p90,
        p99=p99,
        longest=longest,
        away=flow.away / seconds,
        busy=busy,
        good=int((served & (latency <= flow.deadline)).sum()),
        late=int((served & (waited > flow.deadline + _ON_THE_WAY_SECONDS)).sum()),
        delayed=int((latency - since_sent > _DELAYED_SECONDS).sum()),
        unsent=flow.unsent,
    )
