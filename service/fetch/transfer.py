"""Many pieces at a time are read, and written in their order: large files and many small ones are the same stream.

A part has the object's version in its name. So whatever of it lies there already is of this very version, and the
transfer goes on behind it.
"""

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import structlog

from service.errors import StartError
from service.fetch.failures import FetchFailed, FetchInterrupted, has_changed, must_be, reason, refusal
from service.fetch.store import Object

# Large enough that a request's latency is little of it, small enough that several fit into an init container.
PIECE: Final = 8 << 20
_PAUSES: Final = (0.5, 1, 2, 4, 8)
_TELL_SECONDS: Final = 10.0

T = TypeVar("T")
Read = Callable[[Object, int, int], bytes]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Piece:
    """From `start` up to `stop` of an object; empty for an empty object."""

    of: Object
    part: Path
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def transfer(wanted: Sequence[tuple[Object, Path]], read: Read, parallel: int, piece: int = PIECE) -> None:
    """Fill each object's part. At most `parallel` pieces are in memory. Raises FetchFailed, FetchInterrupted."""
    size = sum(each.size for each, _ in wanted)
    progress = _Progress(size, size - left(wanted))
    patience = Patience()
    window: deque[tuple[Piece, Future[bytes]]] = deque()
    with ThreadPoolExecutor(parallel, thread_name_prefix="fetch") as pool:
        try:
            for each in _pieces(wanted, piece):
                if len(window) == parallel:
                    progress.add(_write(*window.popleft()))
                window.append((each, pool.submit(_read_piece, read, each, patience)))
            while window:
                progress.add(_write(*window.popleft()))
        finally:
            patience.end()
            pool.shutdown(cancel_futures=True)


def left(wanted: Sequence[tuple[Object, Path]]) -> int:
    """Bytes that are still to be read."""
    return sum(each.size - _length(part) for each, part in wanted)


class Patience:
    """Try again what may succeed later, a little later each time, until somebody says that it is over."""

    def __init__(self, pauses: Sequence[float] = _PAUSES) -> None:
        self._pauses = pauses
        self._is_over = threading.Event()

    def end(self) -> None:
        self._is_over.set()

    def __call__(self, action: Callable[[], T], shown: str) -> T:
        """Raises FetchFailed for what is hopeless, FetchInterrupted where it has not succeeded in the end."""
        for pause in (*self._pauses, None):
            try:
                return action()
            except StartError:
                raise
            except Exception as error:
                if said := refusal(error, shown):
                    raise said from error
                if pause is None or self._is_over.is_set():
                    raise FetchInterrupted(f"{shown}: {reason(error)}; run it again, it goes on from here") from error
                log.warning("fetch_trying_again", source=shown, reason=reason(error), pause_seconds=pause)
                # Not all at the same moment, where many pods start together.
                self._is_over.wait(pause * random.uniform(0.5, 1))
        raise AssertionError


def _pieces(wanted: Sequence[tuple[Object, Path]], size: int) -> Iterator[Piece]:
    for each, part in wanted:
        begun = _length(part)
        if each.size == 0:
            yield Piece(each, part, 0, 0)
        for start in range(begun, each.size, size):
            yield Piece(each, part, start, min(start + size, each.size))


def _read_piece(read: Read, piece: Piece, patience: Patience) -> bytes:
    return patience(lambda: _read_whole(read, piece), piece.of.shown)


def _read_whole(read: Read, piece: Piece) -> bytes:
    try:
        data = read(piece.of, piece.start, piece.stop)
    except Exception as error:
        if has_changed(error):
            raise FetchInterrupted(f"{piece.of.shown} has changed while it was fetched: run it again") from error
        raise
    if len(data) < piece.size:
        raise ConnectionError(f"{len(data)} of {piece.size} bytes came")
    return data


def _write(piece: Piece, data: Future[bytes]) -> int:
    content = data.result()
    if len(content) > piece.size:
        raise _too_much(piece)
    with must_be("written", piece.part), piece.part.open("ab") as stream:
        stream.write(content)
        if piece.stop == piece.of.size:
            _sync(stream)
    return len(content)


def _too_much(piece: Piece) -> StartError:
    """From its beginning it may succeed: without ranges one piece can be had."""
    piece.part.unlink(missing_ok=True)
    said = (
        f"{piece.of.shown}: asked for {piece.size} bytes, and more came: the server does not know range requests, or "
        "the object has changed"
    )
    return FetchInterrupted(f"{said}; run it again, it begins anew") if piece.start else FetchFailed(said)


def _sync(stream: BinaryIO) -> None:
    """Before it is renamed: a machine that fails then shall not leave an empty file under a good name."""
    stream.flush()
    os.fsync(stream.fileno())


def _length(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


class _Progress:
    """A line now and then."""

    def __init__(self, size: int, done: int) -> None:
        self._size = size
        self._done = done
        self._told = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._told > _TELL_SECONDS:
            self._told = time.monotonic()
            log.info("fetching", bytes=self._done, of=self._size)
