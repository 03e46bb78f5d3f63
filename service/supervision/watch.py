"""The model repository and the keys are looked at now and then; a change that has come to rest is a wish to reload.

Names, sizes and times of all files tell: whatever puts a new model there, a copy or a mount that Kubernetes swaps by a
symbolic link, changes one of them. Files that are still being written look different at the next glance.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from service.wishes import Wish, Wishes

log = structlog.get_logger()

Look = frozenset[tuple[str, int, int, int]]


def look_at(*places: Path) -> Look:
    """Path, size, time of change and inode of each file; empty where there is none. Follows links, but not outside."""
    return frozenset(file for place in places for file in _files(place))


def _files(place: Path) -> Iterator[tuple[str, int, int, int]]:
    for path, is_link in ((place, False), *_below(place)):
        with suppress(OSError):  # it is just going
            status = path.lstat() if is_link else path.stat()
            yield str(path), status.st_size, status.st_mtime_ns, status.st_ino


def _below(place: Path) -> Iterator[tuple[Path, bool]]:
    """Files, and links to folders (True). Each folder is entered once: links to those above have no end of paths."""
    root = Path(os.path.realpath(place))
    seen: set[Path] = set()
    for path, folders, names in os.walk(place, followlinks=True):
        real = Path(os.path.realpath(path))
        if real in seen or not real.is_relative_to(root):
            folders.clear()
            continue
        seen.add(real)
        links = {name for name in folders if Path(path, name).is_symlink()}
        # No models lie in hidden folders, but what `onnicorn fetch` has not finished does. A link may lead to one.
        folders[:] = [name for name in folders if name in links or not name.startswith(".")]
        yield from ((Path(path, name), False) for name in names)
        yield from ((Path(path, name), True) for name in links)


async def watch(places: Sequence[Path], seconds: float, wishes: Wishes, is_read: bool) -> None:
    """For ever. `is_read` says that what lies there when this begins has been read, or will be."""
    before = await asyncio.to_thread(look_at, *places)
    acted_on = before if is_read else None
    while True:
        await asyncio.sleep(seconds)
        now = await asyncio.to_thread(look_at, *places)
        if now == before and now != acted_on:
            try:
                wishes.ask(Wish())
            except OSError as error:
                log.error("reload_impossible", reason=f"the wish cannot be written: {error.strerror}")
                continue
            acted_on = now
        before = now
