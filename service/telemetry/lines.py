"""Lines on their way out, written by a thread so that a slow reader of our output never holds the event loop."""

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import sleep
from typing import Any, Final, TextIO

# How long lines are gathered before they are written together.
_GATHER_SECONDS: Final = 0.02
# So many lines wait at most for a reader that is slow or stuck; further ones are counted and dropped.
_MAX_WAITING: Final = 100_000
# How long the end waits for such a reader, in seconds.
_PATIENCE: Final = 2.0


class LineWriter:
    """A text stream. Until `write_in_background` it writes at once, from then on in batches, by a thread.

    A fork has no threads: a child writes at once until it asks for a thread of its own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream  # which would close its buffer, were it forgotten
        # A stream without bytes below it is a test's.
        buffer = getattr(stream, "buffer", None)
        self._write = _writer(buffer) if buffer else lambda data: _writer(stream)(data.decode())
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._is_stuck = False
        self._wanted = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._forget_thread)

    def write(self, text: str) -> int:
        self._put(text.encode(errors="backslashreplace"))
        return len(text)

    def write_line(self, line: bytes) -> None:
        """One line without its end, already encoded."""
        self._put(line + b"\n")

    def flush(self) -> None:
        """Nothing to do: `write` has written, or the thread will."""

    def write_in_background(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="log-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits; from now on at once."""
        thread, self._thread = self._thread, None
        if thread:
            self._wanted.set()
            thread.join(_PATIENCE)
            self._is_stuck = thread.is_alive()  # and keeps the lock, for which nobody shall wait
            if not self._is_stuck:
                self._drain()

    def _put(self, data: bytes) -> None:
        if self._is_stuck or len(self._waiting) >= _MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append(data)
        if self._thread is None:
            self._drain()
        elif not self._wanted.is_set():
            self._wanted.set()

    def _serve(self) -> None:
        while self._thread is not None:
            self._wanted.wait()
            sleep(_GATHER_SECONDS)
            self._wanted.clear()
            self._drain()

    def _drain(self) -> None:
        with self._writing:
            lines = []
            while self._waiting:
                lines.append(self._waiting.popleft())
            if self._lost:
                lines.append(b'{"level":"error","event":"lines_lost","lines":%d}\n' % self._lost)
                self._lost = 0
            with suppress(OSError):  # a reader that is gone must not end the service
                self._write(b"".join(lines))

    def _forget_thread(self) -> None:
        self._thread = None
        self._is_stuck = False
        self._waiting.clear()
        self._writing = threading.Lock()


def _writer(stream: Any) -> Callable[[Any], None]:
    def write(data: Any) -> None:
        stream.write(data)
        stream.flush()

    return write
