"""The folder that is fetched to, and what is kept in its hidden corner: parts, and a record of what was fetched.

Everything that is not complete lies in `.fetch`, which no repository looks into, and on the same file system, so that a
rename makes it appear.
"""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from service.fetch.failures import FetchFailed, must_be
from service.fetch.publish import publish
from service.fetch.store import Object

CORNER: Final = ".fetch"
# What tells that a file has not been touched since.
_LOOK: Final = ("bytes", "modified")

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
        self._kept = _read(self._record)

    @classmethod
    @contextmanager
    def locked(cls, path: Path) -> Iterator["Folder"]:
        """Made where it is not there. Raises FetchFailed where it cannot be written."""
        corner = path / CORNER
        with ExitStack() as stack:
            with must_be("written", path):
                corner.mkdir(parents=True, exist_ok=True)
                if corner.is_symlink():
                    raise FetchFailed(f"{corner} is a link: remove it")
                # To append, which touches nothing.
                lock = stack.enter_context((corner / "lock").open("a"))
                _lock(lock.fileno(), path)
                folder = cls(path)
            yield folder

    def part(self, each: Object) -> Path:
        """Where an object's beginning lies, or will: there is another such place for each version of it."""
        return self._parts / hashlib.sha256(f"{each.shown}\0{each.version}\0{each.size}".encode()).hexdigest()

    def has(self, each: Object) -> bool:
        """Nothing has changed since it was fetched, neither there nor here."""
        here = _look(self.path / each.path)
        return bool(each.version and here) and self._kept.get(each.path) == _entry(each, here)

    def gone(self, source: str, there: Iterable[Object]) -> set[Path]:
        """What came from below `source`, is not there any more, and lies here as it came."""
        below, paths = f"{source.rstrip('/')}/", {each.path for each in there}
        return {
            self.path / path
            for path, entry in self._kept.items()
            if path not in paths
            and entry["source"].startswith(below)
            and _look(self.path / path) == {key: entry[key] for key in _LOOK}
        }

    def take(self, objects: Iterable[Object], gone: Set[Path] = frozenset()) -> None:
        """Their parts are complete: let them appear. A version that is exchanged goes on without what is `gone`."""
        with must_be("written", self.path):
            for each in objects:
                place = self._new / each.path
                place.parent.mkdir(parents=True, exist_ok=True)
                self.part(each).rename(place)
                self._kept[each.path] = _entry(each, _look(place))
            # Before they appear: if this ends in between, what has appeared is known, and the rest is fetched again.
            self._write()
            publish(self._new, self.path, gone)
            shutil.rmtree(self._new, ignore_errors=True)

    def forget_parts(self, but: Iterable[Object] = ()) -> None:
        """Room for others. Without a version nothing says that a part is of the same content as what is there now."""
        spared = {self.part(each) for each in but if each.version}
        with must_be("written", self._parts):
            for part in self._parts.iterdir():
                if part not in spared:
                    part.unlink()

    def room(self) -> int:
        return shutil.disk_usage(self.path).free

    def _write(self) -> None:
        beside = self._record.with_suffix(".new")
        beside.write_text(json.dumps(self._kept, indent=1, sort_keys=True))
        beside.replace(self._record)


def _read(record: Path) -> dict[str, Any]:
    try:
        with must_be("read", record):
            entries = json.loads(record.read_text()) if record.exists() else {}
    except ValueError:
        return {}  # then all is fetched again
    return entries if isinstance(entries, dict) else {}


def _look(file: Path) -> dict[str, int] | None:
    try:
        status = file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return dict(zip(_LOOK, (status.st_size, status.st_mtime_ns), strict=True))


def _entry(each: Object, here: dict[str, int] | None) -> dict[str, Any]:
    return {"source": each.shown, "version": each.version, "size": each.size, **(here or {})}


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("fetch_waiting", folder=str(path), reason="another process fetches to it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
