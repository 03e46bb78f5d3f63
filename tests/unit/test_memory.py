"""What a process may have of memory, in processes of their own, for there is no way back; and what it gives back."""

import asyncio
import subprocess
import sys

import pytest

from service import memory
from service.memory import Heap
from tests.unit.loop import let_pass, until

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


MEBIBYTE = 1 << 20


def times_given_back(monkeypatch: pytest.MonkeyPatch, *freed: int) -> list[int]:
    """How often memory has been given back behind each of these, and then behind each of two waits of five seconds."""
    given: list[None] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(None))

    async def run() -> list[int]:
        heap, counts = Heap(seconds=5.0), []
        for size in freed:
            heap.note(size)
            counts.append(len(given))
        for _ in range(2):
            let_pass(5.0)
            if heap._timer:
                await until(lambda: heap._timer is None)
            await asyncio.get_running_loop().shutdown_default_executor()
            counts.append(len(given))
        return counts

    return asyncio.run(run())


def test_what_was_freed_in_large_blocks_is_given_back_once_a_while_later(monkeypatch: pytest.MonkeyPatch) -> None:
    assert times_given_back(monkeypatch, *[MEBIBYTE] * 8) == [0] * 8 + [1, 1]


def test_small_blocks_are_soon_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert times_given_back(monkeypatch, *[100_000] * 100) == [0] * 102
