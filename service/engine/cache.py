"""Prepared models on disk: found by what they depend on, written whole, removed when nobody has used them for long.

<cache>/<key>/model.onnx     the optimised graph
<cache>/<key>/weights.bin    its weights, packed for this CPU, which all workers map
<cache>/<key>/files/         or, instead of these, what a transform may read
<cache>/<key>/lock           held by every master that uses the entry; its time says when it was last used
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from service.engine.manifest import file_digest
from service.errors import OnnicornError, RepositoryError

log = structlog.get_logger()

MODEL: Final = "model.onnx"
WEIGHTS: Final = "weights.bin"
FILES: Final = "files"
_LOCK: Final = "lock"
_SUMS: Final = "SHA256SUMS"
_DRAFT: Final = ".draft-"
# Of files, and of the folders that they lie in.
_READ_ONLY: Final = 0o444
_UNWRITABLE: Final = 0o555
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

    def find(self, key: str, name: str = MODEL) -> Path | None:
        """What has that name in the entry, if there is one and its files are whole.

        A damaged one is removed, unless somebody holds it.
        """
        try:
            return self._found(self._directory / key, name)
        except (OSError, RepositoryError) as error:
            log.warning("cache_unreadable", directory=str(self._directory), reason=str(error))
            return None

    def _found(self, entry: Path, name: str) -> Path | None:
        if not entry.is_dir():
            return None
        if not _is_whole(entry, name):
            is_removed = False
            with suppress(OSError):
                is_removed = _removed(entry)
            reason = "the files are not as they were written"
            log.warning("cache_damaged", entry=str(entry), reason=reason, removed=is_removed)
            return None
        with suppress(OSError):  # in an image that is read-only the time stays what it was
            os.utime(entry / _LOCK)
        return entry / name

    @contextmanager
    def draft(self, key: str, model_bytes: int) -> Iterator[Path]:
        """A directory to fill; it becomes the entry when the block ends well, and nothing remains of it otherwise.

        Raises CacheUnusable where it cannot be made, for a lack of rights or of room for `model_bytes`.
        """
        draft = self._new_draft(key, model_bytes)
        try:
            yield draft
            self._publish(draft, key)
        except OSError as error:  # such as a disk that is full, or a quota that nobody could foresee
            raise CacheUnusable(f"{draft} cannot be written: {error.strerror}") from None
        finally:
            with suppress(OSError):
                _delete(draft)

    def try_out(self) -> None:
        """Could it take an entry? Raises CacheUnusable."""
        self._new_draft("try", 0).rmdir()

    def _new_draft(self, key: str, model_bytes: int) -> Path:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._check_space(model_bytes)
            return Path(tempfile.mkdtemp(prefix=f"{_DRAFT}{key}-", dir=self._directory))
        except OSError as error:
            raise CacheUnusable(f"{self._directory} is not writable: {error.strerror}") from None

    def prune(self) -> list[str]:
        """Remove what nobody holds and nobody has used for long; returns the keys that went."""
        removed = []
        for entry in self._entries():
            with suppress(OSError):
                if entry.name.startswith(_DRAFT):
                    if _age(entry) > _DRAFT_SECONDS:
                        _delete(entry)
                elif _age(entry / _LOCK) > self._keep_seconds and _removed(entry):
                    removed.append(entry.name)
        return removed

    def _entries(self) -> list[Path]:
        try:
            return sorted(self._directory.iterdir())
        except OSError:
            return []

    def _check_space(self, model_bytes: int) -> None:
        needed, free = int(model_bytes * _SPACE), shutil.disk_usage(self._directory).free
        if needed > free:
            raise CacheUnusable(f"{self._directory} has {free >> 20} MiB free, {needed >> 20} MiB are needed")

    def _publish(self, draft: Path, key: str) -> None:
        (draft / _LOCK).touch()
        (draft / _SUMS).write_bytes(os.fsencode(_sums(draft)))
        for file in (*_files(draft), draft / _LOCK, draft / _SUMS):
            file.chmod(_READ_ONLY)
            _sync(file)
        for folder in draft.glob("*/"):
            folder.chmod(_UNWRITABLE)  # whoever writes there by mistake hears of it at once
        draft.chmod(0o755)
        try:
            draft.rename(self._directory / key)
        except OSError as error:
            if not (self._directory / key).is_dir():  # else another process was faster with the same entry
                raise CacheUnusable(f"{self._directory} is not writable: {error.strerror}") from None


class Hold:
    """Keeps an entry from being pruned, as long as the object or a fork of its process lives."""

    def __init__(self, found: Path) -> None:
        self._file = (found.parent / _LOCK).open("rb")
        fcntl.flock(self._file, fcntl.LOCK_SH)


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _removed(entry: Path) -> bool:
    """Remove an entry unless somebody holds it; nobody can take it meanwhile.

    At once: of what is half removed, its lock perhaps, nobody could tell who holds it.
    """
    with (entry / _LOCK).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        _delete(entry.rename(tempfile.mkdtemp(prefix=f"{_DRAFT}{entry.name}-", dir=entry.parent)))
        return True


def _delete(place: Path) -> None:
    """Also folders into which nobody may write."""
    for folder, _, _ in os.walk(place):
        Path(folder).chmod(0o755)
    shutil.rmtree(place)


def _is_whole(entry: Path, name: str) -> bool:
    """Is all there that was written? What has come since, such as a log that a transform keeps, makes no difference."""
    sums = entry / _SUMS
    if not sums.is_file():
        return False
    *lines, rest = os.fsdecode(sums.read_bytes()).split("\n")
    digests = {file: digest for digest, _, file in (line.partition("  ") for line in lines)}
    is_there = name in digests or (entry / name).is_dir()
    return is_there and not rest and all(_is(entry / file, digest) for file, digest in digests.items())


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and file_digest(file) == digest


def _sums(entry: Path) -> str:
    """The checksums of what workers map or read, one line each."""
    return "".join(f"{file_digest(file)}  {file.relative_to(entry)}\n" for file in _files(entry))


def _files(entry: Path) -> list[Path]:
    """Those that somebody has put there."""
    return sorted(file for file in entry.rglob("*") if file.is_file() and file not in (entry / _LOCK, entry / _SUMS))


def _sync(file: Path) -> None:
    """On the disk before it is in its place: a power cut must not leave half an entry."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
