"""An answer that is sent while it comes about: portions of work, a few at a time, answered in their order.

A portion is taken only when there is room for it, and worked on only while the client reads: so however much passes,
what is in memory stays the same.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from starlette.types import Send

from service.caller import Caller, ClientLeft
from service.deadline import Deadline
from service.errors import OnnicornError, Overloaded
from service.lane import Lane
from service.web.coding import Press

Portion = TypeVar("Portion")
Result = TypeVar("Result")
Headers = list[tuple[bytes, bytes]]

# What is sent at a time, in bytes, where there is more; others have their turn in between.
PART: Final = 64 << 10
# While one runs the next is read or waits for its run: more would take the place of other callers' requests.
_WINDOW: Final = 2
# The same of a model, for each of its run threads: however many streams it has, its queue stays short.
_GROUPS: Final = 2
# The most that the results of a portion should take, in bytes: those of a few portions wait for whoever reads.
_RESULTS: Final = 8 << 20
# When an overloaded model is asked again, in seconds.
_SOONEST, _LATEST = 0.02, 1.0
# Compressing more than this would hold the event loop for milliseconds.
_COMPRESS_ON_LOOP: Final = 16 << 10


async def answers(
    take: Callable[[], Coroutine[Any, Any, Portion | None]],
    work: Callable[[Portion], Coroutine[Any, Any, Result]],
) -> AsyncGenerator[Result, None]:
    """What `work` makes of each portion, in their order. `take` gets the next one, or None at the end.

    Where taking fails, all that was taken before is answered first. What `work` raises ends everything.
    """
    taking: asyncio.Task[Portion | None] | None = None
    running: deque[asyncio.Task[Result]] = deque()
    failure: OnnicornError | None = None
    is_over = False
    try:
        while running or not is_over:
            if taking is None and not is_over and len(running) < _WINDOW:
                taking = asyncio.create_task(take())
            # Not for all that run: those behind the first may have ended, and would be answered out of order.
            awaited = [task for task in (taking, running[0] if running else None) if task]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if running and running[0].done():
                yield running.popleft().result()
            elif taking:
                ended, taking = taking, None
                try:
                    portion = ended.result()
                except OnnicornError as error:
                    portion, failure = None, error
                if portion is None:
                    is_over = True
                else:
                    running.append(asyncio.create_task(work(portion)))
        if failure:
            raise failure
    finally:
        await _cancel([task for task in (taking, *running) if task])


class Window:
    """What all streams of a model share: places for groups, and how many rows make a portion.

    That are as many as fill a run, unless their results, which wait for whoever reads, would be too large. Of how large
    they are nobody knows before the first, so that one is alone.
    """

    def __init__(self, groups: int, rows: int) -> None:
        self._places = asyncio.Semaphore(groups)
        self._most = rows
        self.rows = 1

    @asynccontextmanager
    async def place(self, deadline: Deadline) -> AsyncGenerator[None, None]:
        """For a group that runs in the block; who waits for one gets it in turn. Raises DeadlineExceeded."""
        try:
            async with asyncio.timeout(None if deadline.remaining == inf else deadline.remaining):
                await self._places.acquire()
        except TimeoutError:
            raise deadline.exceeded("queue") from None
        try:
            yield
        finally:
            self._places.release()

    def note(self, rows: int, size: int) -> None:
        """The results of so many rows have so many bytes."""
        if rows:
            self.rows = max(1, min(self._most, _RESULTS * rows // max(size, 1)))


class Windows:
    """Each model's, for as long as it is served."""

    def __init__(self) -> None:
        self._windows: WeakKeyDictionary[Lane, Window] = WeakKeyDictionary()

    def of(self, lane: Lane) -> Window:
        window = self._windows.get(lane)
        if window is None:
            window = Window(_GROUPS * lane.model.declaration.run_threads, lane.group_rows)
            self._windows[lane] = window
        return window


async def patiently(ask: Callable[[], Awaitable[Result]], deadline: Deadline) -> Result:
    """Ask until the answer is not that there is too much to do. Raises DeadlineExceeded."""
    while True:
        try:
            return await ask()
        except Overloaded as refusal:
            deadline.check("queue")
            seconds = min(max(refusal.retry_after, _SOONEST), _LATEST)
        await asyncio.sleep(max(0.0, min(seconds, deadline.remaining)))


async def while_heard(caller: Caller, work: Awaitable[None]) -> None:
    """Do it for as long as somebody waits for it. Raises ClientLeft."""
    task = asyncio.current_task()
    assert task
    try:
        with caller.watched(task.cancel):
            await work
    except asyncio.CancelledError:
        if not caller.has_left:
            raise
        task.uncancel()
        raise ClientLeft("run") from None


class Reply:
    """A good answer that is sent in parts. Its head goes out with the first of them, or at `begin`."""

    def __init__(self, send: Send, headers: Headers, coding: str | None = None) -> None:
        self._send = send
        self._headers = headers
        self._press = Press(coding) if coding else None
        if coding:
            self._headers = [*headers, (b"content-encoding", coding.encode()), (b"vary", b"accept-encoding")]
        self._part = bytearray()
        self.has_begun = False

    async def begin(self) -> None:
        await self._give(b"", more=True)

    async def add(self, text: bytes, end: bytes = b"") -> None:
        """It is sent with what is added next, once that is worth it, or at `flush`.

        Of a long text nothing is copied but what goes out next: whoever reads slowly would have it wait several times.
        """
        if len(text) < PART:
            self._part += text
        else:
            await self.flush()
            for start in range(0, len(text), PART):
                await self._send_part(text[start : start + PART])
        self._part += end
        if len(self._part) >= PART:
            await self.flush()

    async def flush(self) -> None:
        """Waits while the client is behind with reading."""
        if self._part:
            part, self._part = bytes(self._part), bytearray()
            await self._send_part(part)

    async def _send_part(self, part: bytes) -> None:
        if self._press:
            part = await self._pressed(self._press.more, part)
        await self._give(part, more=True)
        await asyncio.sleep(0)

    async def end(self, text: bytes = b"") -> None:
        part = bytes(self._part + text)
        if self._press:
            part = await self._pressed(self._press.last, part)
        await self._give(part, more=False)

    async def _give(self, part: bytes, *, more: bool) -> None:
        if not self.has_begun:
            self.has_begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await self._send({"type": "http.response.body", "body": part, "more_body": more})

    async def _pressed(self, press: Callable[[bytes], bytes], part: bytes) -> bytes:
        return await asyncio.to_thread(press, part) if len(part) > _COMPRESS_ON_LOOP else press(part)


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
