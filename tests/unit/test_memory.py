"""What a process may have of memory: in processes of their own, for there is no way back."""

import subprocess
import sys

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
