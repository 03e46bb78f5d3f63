"""The folder that is fetched to, and what is kept in its hidden corner: parts, and a record of what was fetched.

Everything that is not complete lies in `.fetch`, which no repository looks into, and on the same file system, so that a
rename makes it appear.
"""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

import structlog

from service.fetch.failures import FetchFailed, must_be
from service.fetch.publish import check_places, publish, put_back, remove
from service.fetch.store import CORNER, Object

# What tells that a file has not been touched since.
_LOOK: Final = ("bytes", "modified")
_FIELDS: Final = {"source", "version", "size", *_LOOK}

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
        self._kept = _read(self._record)
        self._recover()

    @classmethod
    @contextmanager
    def locked(cls, path: Path) -> Iterator["Folder"]:
        """Made where it is not there. Raises FetchFailed where it cannot be written."""
        corner = path / CORNER
        with ExitStack() as stack:
            with must_be("written", path):
                corner.mkdir(parents=True, exist_ok=True)
                _refuse_links(corner)
                # To append, which touches nothing.
                lock = stack.enter_context((corner / "lock").open("a"))
                _lock(lock.fileno(), path)
                folder = cls(path)
            yield folder

    def part(self, each: Object) -> Path:
        """Where an object's beginning lies, or will: there is another such place for each version of it."""
        return self._part(each.shown, each.version, each.size)

    def has(self, each: Object) -> bool:
        """Nothing has changed since it was fetched, neither there nor here."""
        here = _look(self.path / each.path)
        return bool(each.version and here) and self._kept.get(each.path) == _entry(each, here)

    def gone(self, source: str, there: Iterable[Object]) -> set[Path]:
        """What came from below `source`, is not there any more, and lies here as it came."""
        below, known = f"{source.rstrip('/')}/", {name for each in there for name in (each.path, each.shown)}
        return {
            self.path / path
            for path, entry in self._kept.items()
            if not known & {path, entry["source"]}
            and entry["source"].startswith(below)
            and _is_as_it_came(self.path / path, entry)
        }

    def check(self, objects: Iterable[Object], gone: Set[Path] = frozenset()) -> None:
        """Raises FetchFailed where they could not be taken: to be known before much is fetched."""
        paths = [each.path for each in objects] + [str(path.relative_to(self.path)) for path in gone]
        with must_be("read", self.path):
            check_places(paths, self.path)

    def take(self, objects: Collection[Object], gone: Set[Path] = frozenset()) -> None:
        """Their parts are complete: let them appear. What is `gone` goes, from a version together with what comes."""
        self.check(objects, gone)
        with must_be("written", self.path):
            for each in objects:
                self._kept[each.path] = _entry(each, _look(self.part(each)))
            # Before anything moves: if this ends in between, what has appeared is known, and the rest is found again.
            self._write()
            for each in objects:
                self.part(each).rename(_made(self._new / each.path))
            for path in gone:
                _made(self._new / path.relative_to(self.path))
            publish(self._new, self.path, gone)
            remove(gone, self.path)
            shutil.rmtree(self._new, ignore_errors=True)

    def forget(self, each: Object) -> None:
        """So that it is fetched again the next time."""
        with must_be("written", self._record):
            del self._kept[each.path]
            self._write()

    def forget_parts(self, but: Iterable[Object] = ()) -> None:
        """Room for others. Without a version nothing says that a part is of the same content as what is there now."""
        spared = {self.part(each) for each in but if each.version}
        with must_be("written", self._parts):
            for part in self._parts.iterdir():
                if part not in spared:
                    part.unlink()

    def room(self) -> int:
        return shutil.disk_usage(self.path).free

    def _part(self, source: str, version: str, size: int) -> Path:
        return self._parts / hashlib.sha256(f"{source}\0{version}\0{size}".encode()).hexdigest()

    def _recover(self) -> None:
        """Whoever was ended while it took what had come has left that in `new`: these are parts again."""
        if not self._new.exists():
            return
        put_back(self._new, self.path)
        for path, entry in self._kept.items():
            if _is_as_it_came(self._new / path, entry):
                (self._new / path).rename(self._part(entry["source"], entry["version"], entry["size"]))
        shutil.rmtree(self._new, ignore_errors=True)

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
    if not isinstance(entries, dict):
        return {}
    return {path: entry for path, entry in entries.items() if _is_ours(path, entry)}


def _is_ours(path: str, entry: Any) -> bool:
    """As this program writes it, and of a file in the folder: what is gone is removed."""
    place = PurePosixPath(path)
    is_inside = not place.is_absolute() and ".." not in place.parts
    return is_inside and isinstance(entry, dict) and entry.keys() == _FIELDS


def _refuse_links(corner: Path) -> None:
    """They would lead out of the folder."""
    for each in (corner, *corner.glob("*"), *corner.glob("parts/*")):
        if each.is_symlink():
            raise FetchFailed(f"{each} is a link: remove it")


def _made(place: Path) -> Path:
    """With the folders above it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _look(file: Path) -> dict[str, int] | None:
    with must_be("read", file):
        try:
            status = file.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return dict(zip(_LOOK, (status.st_size, status.st_mtime_ns), strict=True))


def _is_as_it_came(file: Path, entry: dict[str, Any]) -> bool:
    return _look(file) == {key: entry[key] for key in _LOOK}


def _entry(each: Object, here: dict[str, int] | None) -> dict[str, Any]:
    return {"source": each.shown, "version": each.version, "size": each.size, **(here or {})}


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("fetch_waiting", folder=str(path), reason="another process fetches to it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
