"""The threads that a model runs in: its own, bounded, never the event loop and never the loop's default pool."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Generic, TypeVar

T = TypeVar("T")


class Timed(Generic[T]):
    """A result with the seconds that it waited and ran."""

    __slots__ = ("queue", "result", "run")

    def __init__(self, result: T, queue: float, run: float) -> None:
        self.result = result
        self.queue = queue
        self.run = run


class RunThreads:
    """Runs calls for one model, at most `count` at a time, in the order they came."""

    def __init__(self, name: str, count: int = 1) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=f"run-{name}")

    async def run(self, call: Callable[[], T]) -> Timed[T]:
        """Wait for a thread, run `call` in it. A caller that is cancelled while it waits is never run."""
        asked = perf_counter()

        def timed() -> Timed[T]:
            started = perf_counter()
            result = call()
            return Timed(result, started - asked, perf_counter() - started)

        return await asyncio.get_running_loop().run_in_executor(self._executor, timed)

    def close(self) -> None:
        """Let what runs end; what waits is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)
