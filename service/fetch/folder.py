"""The folder that is fetched to, and what is kept in its hidden corner: parts, and a record of what was fetched.

Everything that is not complete lies in `.fetch`, which no repository looks into, and on the same file system, so that a
rename makes it appear.
"""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from service.fetch.failures import FetchFailed
from service.fetch.publish import publish
from service.fetch.store import Object

CORNER: Final = ".fetch"

log = structlog.get_logger()


class Folder:
    """Made by `locked` only, so that two that fetch to one place do so one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._corner = path / CORNER
        self._record = self._corner / "record.json"
        self._parts = self._corner / "parts"
        self._new = self._corner / "new"
        self._parts.mkdir(exist_ok=True)
        shutil.rmtree(self._new, ignore_errors=True)

    @classmethod
    @contextmanager
    def locked(cls, path: Path) -> Iterator["Folder"]:
        """Made where it is not there. Raises FetchFailed where it cannot be written."""
        corner = path / CORNER
        try:
            corner.mkdir(parents=True, exist_ok=True)
            if corner.is_symlink():
                raise FetchFailed(f"{corner} is a link: remove it")
            with (corner / "lock").open("w") as lock:
                _lock(lock.fileno(), path)
                yield cls(path)
        except OSError as error:
            raise FetchFailed(f"{error.filename or path} cannot be written: {error.strerror}") from None

    def part(self, each: Object) -> Path:
        """Where an object's beginning lies, or will: there is another such place for each version of it."""
        return self._parts / hashlib.sha256(f"{each.shown}\0{each.version}\0{each.size}".encode()).hexdigest()

    def forget_nameless(self, objects: Iterable[Object]) -> None:
        """Parts of objects without a version: nothing says that they are of the same content."""
        for each in objects:
            if not each.version:
                self.part(each).unlink(missing_ok=True)

    def has(self, each: Object) -> bool:
        """Nothing has changed since it was fetched, neither there nor here."""
        kept = self._kept().get(each.path)
        return bool(each.version) and kept is not None and kept == self._entry(each)

    def take(self, objects: Iterable[Object]) -> None:
        """Their parts are complete: let them appear, and forget all other parts."""
        entries = self._kept()
        for each in objects:
            place = self._new / each.path
            place.parent.mkdir(parents=True, exist_ok=True)
            self.part(each).rename(place)
            entries[each.path] = self._entry(each, self._new)
        # Before they appear: if this ends in between, what has appeared is known, and what has not is fetched again.
        self._write(entries)
        publish(self._new, self.path)
        shutil.rmtree(self._new, ignore_errors=True)

    def forget_parts(self) -> None:
        """Those of versions that are no more. Not for them alone is the room there."""
        for part in self._parts.iterdir():
            part.unlink()

    def room(self) -> int:
        return shutil.disk_usage(self.path).free

    def _kept(self) -> dict[str, Any]:
        try:
            entries: dict[str, Any] = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):
            return {}  # then all is fetched again
        return entries

    def _write(self, entries: dict[str, Any]) -> None:
        beside = self._record.with_suffix(".new")
        beside.write_text(json.dumps(entries, indent=1, sort_keys=True))
        beside.replace(self._record)

    def _entry(self, each: Object, below: Path | None = None) -> dict[str, Any] | None:
        try:
            status = ((below or self.path) / each.path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        here = {"bytes": status.st_size, "modified": status.st_mtime_ns}
        return {"source": each.shown, "version": each.version, "size": each.size, **here}


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("fetch_waiting", folder=str(path), reason="another process fetches to it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
