"""Prepared models on disk: found by what they depend on, written whole, removed when nobody has used them for long.

<cache>/<key>/model.onnx     the optimised graph
<cache>/<key>/weights.bin    its weights, packed for this CPU, which all workers map
<cache>/<key>/lock           held by every master that uses the entry; its time says when it was last used
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from service.errors import OnnicornError

MODEL: Final = "model.onnx"
WEIGHTS: Final = "weights.bin"
_LOCK: Final = "lock"
_DRAFT: Final = ".draft-"
_READ_ONLY: Final = 0o444
# A draft that old has lost its maker.
_DRAFT_SECONDS: Final = 3600
# The packed weights come on top of the plain ones: plan for 2.5 times the model.
_SPACE: Final = 2.5


class CacheUnusable(OnnicornError):
    """The cache cannot take an entry; the message says why."""

    code = "cache_unusable"


class Cache:
    """One directory of entries, shared by every service on the machine that is given it."""

    def __init__(self, directory: Path, keep_days: float) -> None:
        self._directory = directory
        self._keep_seconds = keep_days * 86400

    def find(self, key: str) -> Path | None:
        """The prepared model under `key`, if there is one."""
        model = self._directory / key / MODEL
        return model if model.is_file() else None

    @contextmanager
    def draft(self, key: str, model_bytes: int) -> Iterator[Path]:
        """A directory to fill; it becomes the entry when the block ends well, and nothing remains of it otherwise.

        Raises CacheUnusable where it cannot be made, for a lack of rights or of room for `model_bytes`.
        """
        draft = self._directory / f"{_DRAFT}{key}-{os.getpid()}"
        try:
            draft.mkdir(parents=True)
            self._check_space(model_bytes)
        except OSError as error:
            raise CacheUnusable(f"{self._directory} is not writable: {error.strerror}") from None
        try:
            yield draft
            self._publish(draft, key)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def prune(self) -> list[str]:
        """Remove what nobody holds and nobody has used for long; returns the keys that went."""
        removed = []
        for entry in sorted(self._directory.glob("*")):
            with suppress(OSError):
                if entry.name.startswith(_DRAFT):
                    if _age(entry) > _DRAFT_SECONDS:
                        shutil.rmtree(entry)
                elif _age(entry / _LOCK) > self._keep_seconds and _is_free(entry):
                    shutil.rmtree(entry)
                    removed.append(entry.name)
        return removed

    def _check_space(self, model_bytes: int) -> None:
        needed, free = int(model_bytes * _SPACE), shutil.disk_usage(self._directory).free
        if needed > free:
            raise CacheUnusable(f"{self._directory} has {free >> 20} MiB free, {needed >> 20} MiB are needed")

    def _publish(self, draft: Path, key: str) -> None:
        (draft / _LOCK).touch()
        for file in draft.iterdir():
            file.chmod(_READ_ONLY)
        with suppress(OSError):  # another process was faster with the same entry
            draft.rename(self._directory / key)


class Hold:
    """Keeps an entry from being pruned, as long as the object or a fork of its process lives."""

    def __init__(self, model: Path) -> None:
        lock = model.parent / _LOCK
        with suppress(OSError):  # in an image that is read-only the time stays what it was
            os.utime(lock)
        self._file = lock.open("rb")
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        self._file.close()


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _is_free(entry: Path) -> bool:
    with (entry / _LOCK).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
