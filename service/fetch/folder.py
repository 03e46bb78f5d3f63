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
from service.fetch.publish import check_places, make_removable, publish, put_back, remove
from service.fetch.store import CORNER, Object

# What tells that a file has not been touched since.
_LOOK: Final = ("bytes", "modified")
_FIELDS: Final = {"origin", "source", "version", "size", *_LOOK}
# Of a file that came: from where, which version of it, and how it has looked since.
Entry = dict[str, Any]

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
        lying = self._lying(each.path)
        return bool(each.version) and any(it == _entry(each, it["origin"], _came(it)) for it in lying)

    def check(self, objects: Iterable[Object]) -> None:
        """Raises FetchFailed where they could not be taken: to be known before much is fetched."""
        with must_be("read", self.path):
            check_places([each.path for each in objects], self.path)

    def take(self, origin: str, there: Collection[Object], new: Collection[Object]) -> int:
        """Of what is `there`, the parts of what is `new` are complete: let it appear. What is there no more goes.

        Returns how many files went. Until all is done the record has both, what lies here and what comes in its place:
        wherever this ends in between, the next time knows whatever it finds.
        """
        self.check(new)
        known = {each.path for each in there}
        gone = self._gone(origin, known)
        with must_be("written", self.path):
            for each in new:
                self._kept[each.path] = [*self._lying(each.path), _entry(each, origin, _look(self.part(each)))]
            if new or gone:
                self._write()
                self._exchange(new, gone)
            self._settle(origin, known)
        return len(gone)

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

    def _lying(self, path: str) -> list[Entry]:
        """The entries of what lies there as it came: one, or none."""
        here = _look(self.path / path)
        return [entry for entry in self._kept.get(path, ()) if _came(entry) == here]

    def _gone(self, origin: str, known: Set[str]) -> set[Path]:
        """What came from there, is not there any more, and lies here as it came, behind no link."""
        return {
            self.path / path
            for path in self._kept.keys() - known
            if not any((self.path / parent).is_symlink() for parent in PurePosixPath(path).parents[:-1])
            and any(entry["origin"] == origin for entry in self._lying(path))
        }

    def _exchange(self, new: Iterable[Object], gone: Set[Path]) -> None:
        self._new.mkdir(exist_ok=True)
        for each in new:
            self.part(each).rename(_made(self._new / each.path))
        publish(self._new, self.path, gone)
        remove(gone, self.path, self._new)
        make_removable(self._new)
        shutil.rmtree(self._new, ignore_errors=True)

    def _settle(self, origin: str, known: Set[str]) -> None:
        """What is there and here is the origin's from now on; of anything else it has brought nothing is known."""
        for path, entries in list(self._kept.items()):
            if path in known:
                self._kept[path] = [entry | {"origin": origin} for entry in self._lying(path)]
            else:
                self._kept[path] = [entry for entry in entries if entry["origin"] != origin]
        self._write()

    def _recover(self) -> None:
        """Whoever was ended while it took what had come has left that in `new`: these are parts again."""
        if not self._new.exists():
            return
        put_back(self._new, self.path)
        make_removable(self._new)
        for path, entries in self._kept.items():
            for entry in entries:
                if _came(entry) == _look(self._new / path):
                    (self._new / path).rename(self._part(entry["source"], entry["version"], entry["size"]))
        shutil.rmtree(self._new)  # or it would be published with what comes now

    def _write(self) -> None:
        kept = {path: entries for path, entries in self._kept.items() if entries}
        if kept == _read(self._record):
            return
        beside = self._record.with_suffix(".new")
        beside.write_text(json.dumps(kept, indent=1, sort_keys=True))
        beside.replace(self._record)


def _read(record: Path) -> dict[str, list[Entry]]:
    try:
        with must_be("read", record):
            entries = json.loads(record.read_text()) if record.exists() else {}
    except ValueError:
        return {}  # then all is fetched again
    if not isinstance(entries, dict):
        return {}
    return {path: found for path, written in entries.items() if (found := _ours(path, written))}


def _ours(path: str, written: Any) -> list[Entry]:
    """As this program writes them, and of a file in the folder: what is gone is removed."""
    place = PurePosixPath(path)
    if place.is_absolute() or ".." in place.parts:
        return []
    # There was one entry for each once, which did not say its origin: nobody's, so that the file stays.
    entries = written if isinstance(written, list) else [written]
    known = [{"origin": ""} | entry for entry in entries if isinstance(entry, dict)]
    return [entry for entry in known if entry.keys() == _FIELDS]


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


def _came(entry: Entry) -> Entry:
    return {key: entry[key] for key in _LOOK}


def _entry(each: Object, origin: str, here: dict[str, int] | None) -> Entry:
    return {"origin": origin, "source": each.shown, "version": each.version, "size": each.size, **(here or {})}


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("fetch_waiting", folder=str(path), reason="another process fetches to it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
