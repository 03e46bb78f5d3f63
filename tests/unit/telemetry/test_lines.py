"""Lines on their way out: at once, or in the background so that nobody waits for whoever reads them."""

import errno
import gc
import io
import json
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.telemetry import lines
from service.telemetry.lines import LineWriter

# From Python 3.12 on; these children only write and leave.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class Stream(io.StringIO):
    """Remembers the thread of each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[str] = []
        self.flushes = 0

    def write(self, text: str) -> int:
        self.writers.append(threading.current_thread().name)
        return super().write(text)

    def flush(self) -> None:
        self.flushes += 1


class Pause:
    """In place of the writer's sleep: it lasts until `end`, and never longer than a minute."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()

    def __call__(self, seconds: float) -> None:
        self.begun.set()
        assert self.over.wait(60)

    def end(self) -> None:
        self.over.set()


@pytest.fixture
def out() -> Stream:
    return Stream()


@pytest.fixture
def writer(out: Stream) -> Iterator[LineWriter]:
    made = LineWriter(out)
    yield made
    made.stop()


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pause]:
    made = Pause()
    monkeypatch.setattr(lines, "sleep", made)
    yield made
    made.end()


def in_a_child(work: Callable[[], None]) -> int:
    """Its exit code; a minute is all that it has."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        signal.alarm(60)
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def numbered(count: int) -> list[str]:
    return [f"line {number}\n" for number in range(count)]


def test_at_first_every_line_is_written_at_once(writer: LineWriter, out: Stream) -> None:
    for line, flushes in (("one\n", 1), ("two\n", 2)):
        assert writer.write(line) == len(line)
        writer.flush()
        assert out.flushes == flushes
    assert out.getvalue() == "one\ntwo\n"
    assert out.writers == ["MainThread", "MainThread"]


def test_in_the_background_lines_are_gathered_and_written_together(
    writer: LineWriter, out: Stream, pause: Pause
) -> None:
    writer.write_in_background()
    assert [writer.write(line) for line in numbered(3)] == [7, 7, 7]
    writer.flush()
    assert pause.begun.wait(60)
    assert out.getvalue() == ""
    pause.end()
    writer.stop()
    assert out.getvalue() == "line 0\nline 1\nline 2\n"
    assert out.writers[0] == "log-writer"


def test_lines_that_come_later_are_written_too(writer: LineWriter, out: Stream) -> None:
    written = threading.Semaphore(0)
    out.flush = written.release  # type: ignore[method-assign]
    writer.write_in_background()
    for line in numbered(3):
        writer.write(line)
        assert written.acquire(timeout=60)
    assert (out.getvalue(), out.writers) == ("".join(numbered(3)), ["log-writer"] * 3)


def test_stopping_writes_all_that_waits_in_order(writer: LineWriter, out: Stream, pause: Pause) -> None:
    writer.write_in_background()
    for line in numbered(1000):
        writer.write(line)
    pause.end()
    writer.stop()
    assert out.getvalue() == "".join(numbered(1000))


def test_after_stopping_lines_are_written_at_once(writer: LineWriter, out: Stream) -> None:
    writer.write_in_background()
    writer.write("one\n")
    writer.stop()
    writer.write("two\n")
    assert out.getvalue() == "one\ntwo\n"
    assert out.writers[-1] == "MainThread"


def test_what_was_never_begun_can_be_stopped(writer: LineWriter, out: Stream) -> None:
    writer.stop()
    writer.stop()
    assert (out.getvalue(), out.writers) == ("", [])


def test_what_was_stopped_can_begin_again(writer: LineWriter, out: Stream) -> None:
    for line in ("one\n", "two\n"):
        writer.write_in_background()
        writer.write(line)
        writer.stop()
    assert out.getvalue() == "one\ntwo\n"


def test_what_is_more_than_may_wait_is_counted_and_left_out(writer: LineWriter, out: Stream, pause: Pause) -> None:
    writer.write_in_background()
    for line in numbered(lines._MAX_WAITING + 2):
        assert writer.write(line) == len(line)
    pause.end()
    writer.stop()
    *written, told = out.getvalue().splitlines(keepends=True)
    assert written == numbered(lines._MAX_WAITING)
    assert json.loads(told) == {"level": "error", "event": "lines_lost", "lines": 2}
    writer.write("one\n")
    assert out.getvalue().endswith('"lines":2}\none\n')


def test_a_line_that_is_bytes_gets_its_end(writer: LineWriter, out: Stream) -> None:
    writer.write_line("zwölf".encode())
    assert out.getvalue() == "zwölf\n"


@pytest.mark.parametrize(
    ("text", "written"), [("zwölf\n", "zwölf\n".encode()), ("caf\udce9\n", b"caf\\udce9\n"), ("\0", b"\0")]
)
def test_every_text_can_be_written_to_a_file(tmp_path: Path, text: str, written: bytes) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        assert LineWriter(stream).write(text) == len(text)
        assert (tmp_path / "log").read_bytes() == written


@pytest.mark.parametrize("background", [False, True])
def test_a_write_that_fails_is_not_the_last_one(writer: LineWriter, out: Stream, background: bool) -> None:
    """The disk was full for a moment."""
    failed, written = threading.Event(), threading.Event()
    write = out.write

    def fail_once(text: str) -> int:
        if not failed.is_set():
            failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        size = write(text)
        written.set()
        return size

    out.write = fail_once  # type: ignore[method-assign]
    if background:
        writer.write_in_background()
    writer.write("one\n")
    assert failed.wait(60)
    writer.write("two\n")
    assert written.wait(60)
    assert out.getvalue() == "two\n"


def test_the_end_does_not_wait_for_a_reader_that_is_stuck(
    writer: LineWriter, out: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_PATIENCE", 0.01)
    begun, over = threading.Event(), threading.Event()

    def write(text: str) -> int:
        begun.set()
        assert over.wait(60)
        return len(text)

    out.write = write  # type: ignore[method-assign]
    writer.write_in_background()
    writer.write("one\n")
    assert begun.wait(60)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "log-writer"]
    writer.stop()
    assert thread.is_alive()
    over.set()
    thread.join(60)


def test_lines_of_many_threads_are_all_written(writer: LineWriter, out: Stream) -> None:
    writer.write_in_background()
    threads = [
        threading.Thread(target=lambda name=name: [writer.write(f"{name} {number}\n") for number in range(500)])
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.stop()
    written = out.getvalue().splitlines()
    for name in "abcd":
        assert [line for line in written if line.startswith(name)] == [f"{name} {number}" for number in range(500)]
    assert len(written) == 2000


@FORKS
@pytest.mark.parametrize("begin_again", [False, True])
def test_a_fork_writes_its_own_lines_and_none_of_its_parents(tmp_path: Path, pause: Pause, begin_again: bool) -> None:
    file = tmp_path / "log"
    with file.open("w") as stream:
        writer = LineWriter(stream)
        writer.write_in_background()
        writer.write("of the parent\n")
        assert pause.begun.wait(60)

        def write_in_the_child() -> None:
            pause.end()
            if begin_again:
                writer.write_in_background()
            writer.write("of the child\n")
            writer.stop()

        assert in_a_child(write_in_the_child) == 0
        assert file.read_text() == "of the child\n"
        pause.end()
        writer.stop()
    assert file.read_text() == "of the child\nof the parent\n"


@FORKS
def test_a_fork_does_not_wait_for_its_parents_reader(writer: LineWriter, out: Stream) -> None:
    begun, over = threading.Event(), threading.Event()

    def write(text: str) -> int:
        begun.set()
        assert over.wait(60)
        return len(text)

    out.write = write  # type: ignore[method-assign]
    writer.write_in_background()
    writer.write("of the parent\n")
    assert begun.wait(60)

    def write_in_the_child() -> None:
        over.set()
        writer.write_in_background()
        writer.write("of the child\n")
        writer.stop()

    assert in_a_child(write_in_the_child) == 0
    over.set()


def test_a_writer_keeps_its_stream_open(tmp_path: Path) -> None:
    """It writes to the buffer below, which the stream would close, were it forgotten."""
    stream = (tmp_path / "log").open("w")
    writer, reference = LineWriter(stream), weakref.ref(stream)
    del stream
    gc.collect()
    writer.write("one\n")
    assert (tmp_path / "log").read_text() == "one\n"
    kept = reference()
    assert kept is not None
    kept.close()


def test_nobody_waits_for_a_stuck_reader_after_the_end_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's thread still holds the lock: the next line, such as Gunicorn's last, would wait for it for good."""
    monkeypatch.setattr(lines, "_PATIENCE", 0.01)
    out, begun, over = Stream(), threading.Event(), threading.Event()

    def write(text: str) -> int:
        begun.set()
        assert over.wait(60)
        return len(text)

    out.write = write  # type: ignore[method-assign]
    writer = LineWriter(out)
    writer.write_in_background()
    writer.write("one\n")
    assert begun.wait(60)
    writer.stop()
    last = threading.Thread(target=writer.write, args=("two\n",), daemon=True)
    last.start()
    last.join(5)
    is_waiting = last.is_alive()
    over.set()
    last.join(60)
    assert not is_waiting
