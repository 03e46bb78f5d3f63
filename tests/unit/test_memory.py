"""What a process may have of memory, in processes of their own, for there is no way back; and what it gives back."""

import asyncio
import subprocess
import sys

import pytest

from service import memory
from service.memory import Housekeeper
from tests.unit.loop import until

PROGRAM = """
from service import memory

memory.give_back()
memory.keep_within(64 << 20)
kept = bytearray(32 << 20)
try:
    bytearray(64 << 20)
except MemoryError:
    print("no more")
"""


def test_a_process_gets_no_more_than_it_may_have() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("no more\n", "", 0)


def test_memory_is_given_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(None))

    async def run() -> None:
        async with Housekeeper(interval=0.0):
            await until(lambda: len(given) >= 3)

    asyncio.run(run())
