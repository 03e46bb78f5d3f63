"""What a process uses, read from a made-up /proc and from the real one."""

import os
from pathlib import Path

import pytest

from service.process import Usage, usage_of

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """With process 7, whose program has an odd name."""
    home = tmp_path / "7"
    (home / "fd").mkdir(parents=True)
    for number in range(3):
        (home / "fd" / str(number)).touch()
    (home / "stat").write_text(f"7 (odd) S 1) R 1 7 7 0 -1 0 0 0 0 0 {5 * TICKS} {2 * TICKS} 900 900 20 0 1 0\n")
    (home / "statm").write_text("100 40 15 1 0 9 0\n")
    return tmp_path


def test_a_process_is_read(proc: Path) -> None:
    assert usage_of(7, proc) == Usage(cpu_seconds=7, resident_bytes=40 * PAGE, private_bytes=25 * PAGE, open_files=3)


def test_a_process_that_is_gone_uses_nothing_that_is_known(proc: Path) -> None:
    assert usage_of(8, proc) is None


def test_a_process_that_ends_while_it_is_read_is_gone(proc: Path) -> None:
    (proc / "7" / "statm").write_text("")
    assert usage_of(7, proc) is None


def test_this_process_can_be_asked() -> None:
    usage = usage_of(os.getpid())
    assert usage is not None
    assert usage.resident_bytes >= usage.private_bytes > 0
    assert usage.cpu_seconds > 0
    assert usage.open_files > 0
