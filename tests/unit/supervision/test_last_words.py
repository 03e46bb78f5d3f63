"""What a worker that is killed or crashes leaves behind, and what the master makes of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from structlog.typing import EventDict

from service.supervision import last_words

CRASH = """
import os, signal, sys
from pathlib import Path
from service.supervision import last_words
last_words.prepare(Path(sys.argv[1]))
def crash():
    os.kill(os.getpid(), int(sys.argv[2]))
if int(sys.argv[2]):
    crash()
"""


def ended(directory: Path, number: int) -> int:
    """The exit code of a process that keeps its words there and ends by this signal; 0 is an end in order."""
    return subprocess.run([sys.executable, "-c", CRASH, directory / "words", str(number)], timeout=60).returncode


@pytest.mark.parametrize("number", [6, 11], ids=["killed for its silence", "crashed"])
def test_the_stacks_of_a_worker_that_did_not_end_in_order_are_logged_once(
    number: int, tmp_path: Path, records: list[EventDict]
) -> None:
    assert ended(tmp_path, number) == -number
    last_words.report(tmp_path / "words", 3, pid=7)
    last_words.report(tmp_path / "words", 3, pid=7)
    [record] = records
    assert any(line.endswith(" in crash") for line in record.pop("stacks"))
    assert record == {"event": "worker_stacks", "log_level": "error", "slot": 3, "worker": 7}
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_ends_in_order_has_nothing_to_say(tmp_path: Path, records: list[EventDict]) -> None:
    assert ended(tmp_path, 0) == 0
    last_words.report(tmp_path / "words", 3, pid=7)
    assert records == []
    assert list(tmp_path.iterdir()) == []


def test_what_has_nothing_to_do_with_the_end_is_left_out(tmp_path: Path, records: list[EventDict]) -> None:
    file = tmp_path / "words"
    file.write_text('Fatal\n  File "a"\n\nExtension modules: b, c\n')
    last_words.report(file, 3, pid=7)
    assert records[0]["stacks"] == ["Fatal", '  File "a"']
