"""What is complete appears: a folder that was not there all at once, a version's folder that was there by an exchange.

A file that lies in a folder which is no version appears by itself, whole, in the place of the one before.
"""

import ctypes
import os
import shutil
from collections.abc import Set
from pathlib import Path
from typing import Final

from service.fetch.failures import FetchFailed

_HERE: Final = -100  # AT_FDCWD
_EXCHANGE: Final = 2  # RENAME_EXCHANGE


def publish(new: Path, folder: Path, gone: Set[Path] = frozenset()) -> None:
    """Move everything below `new` to the same place below `folder`. Raises FetchFailed rather than follow a link.

    What lies in a version that is exchanged comes along, but for the files that are `gone`.
    """
    for entry in sorted(new.iterdir(), key=_order):
        place = folder / entry.name
        if entry.is_dir():
            _publish_folder(entry, place, gone)
        elif place.is_dir():
            raise FetchFailed(f"{place} is a folder, and a file has been fetched for its place: move it away")
        else:
            entry.replace(place)


def _publish_folder(entry: Path, place: Path, gone: Set[Path]) -> None:
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise FetchFailed(f"{place} is no folder, and one has been fetched for its place: move it away")
    if not place.exists():
        entry.rename(place)
    elif entry.name.isdecimal():
        _adopt(place, entry, gone)
        exchange(entry, place)
    else:
        publish(entry, place, gone)


def _order(entry: Path) -> tuple[bool, bool, str]:
    """A model last, since it needs the others; folders first, since a `model.toml` may name a version."""
    return entry.is_file(), entry.suffix == ".onnx", entry.name


def _adopt(old: Path, new: Path, gone: Set[Path]) -> None:
    """What lies in the old folder and not in the new one belongs there too: it is unchanged, or somebody else's."""
    for entry in old.iterdir():
        place = new / entry.name
        if entry.is_dir() and not entry.is_symlink() and not os.path.lexists(place):
            _adopt_folder(entry, place, gone)
        elif entry.is_dir() and place.is_dir() and not entry.is_symlink():
            _adopt(entry, place, gone)
        elif entry not in gone and not os.path.lexists(place):
            _link(entry, place)


def _adopt_folder(entry: Path, place: Path, gone: Set[Path]) -> None:
    place.mkdir()
    _adopt(entry, place, gone)
    if any(entry.iterdir()) and not any(place.iterdir()):
        place.rmdir()  # it held only what is gone


def _link(entry: Path, place: Path) -> None:
    try:
        os.link(entry, place, follow_symlinks=False)
    except OSError:  # not every mount has links
        shutil.copy2(entry, place, follow_symlinks=False)


def exchange(one: Path, other: Path) -> None:
    """Each has the other's name from now on, without a moment in between where the kernel and the mount can do that."""
    libc = ctypes.CDLL(None)
    names = _HERE, os.fsencode(one), _HERE, os.fsencode(other)
    if hasattr(libc, "renameat2") and libc.renameat2(*names, _EXCHANGE) == 0:
        return
    aside = one.with_name(f"{one.name}.old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)
