"""A call that says when it has begun and ends when it is let."""

import asyncio
import threading


class Gate:
    """Made in a coroutine. `pass_through` blocks its thread until `open` is called, and never longer than a minute."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()

    def pass_through(self) -> None:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()
