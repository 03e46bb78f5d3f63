"""The running event loop in a test's hands: its turns, and its time."""

import asyncio
from collections.abc import Callable

SECONDS = 60
"""How long anything may take before the test fails; nothing is expected to come near it."""


async def turns(count: int = 5) -> None:
    """What can happen at once happens."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Turn after turn, until it is so."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - code under test has no event to wait for
            await asyncio.sleep(0)


def let_pass(seconds: float) -> None:
    """For the loop so much time is over at once."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
