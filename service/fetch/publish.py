"""What is complete appears: a folder that was not there all at once, a version's folder that was there by an exchange.

A file that lies in a folder which is no version appears by itself, whole, in the place of the one before. Then what is
gone goes, a folder that would be empty as a whole.
"""

import ctypes
import os
import shutil
from collections.abc import Collection, Set
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from service.fetch.failures import FetchFailed

_HERE: Final = -100  # AT_FDCWD
_EXCHANGE: Final = 2  # RENAME_EXCHANGE
# No object has a backslash in its name.
_ASIDE: Final = "\\old"


def check_places(paths: Collection[str], folder: Path) -> None:
    """Raises FetchFailed where what lies at the place of one of these files, or of a folder of it, is of another kind.

    Or on another file system. A link is no folder: nothing is written to where it leads.
    """
    for parent in {str(parent) for path in paths for parent in PurePosixPath(path).parents[:-1]}:
        place = folder / parent
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise FetchFailed(f"{place} is no folder, and there is one to be fetched for its place: move it away")
        if place.exists() and place.stat().st_dev != folder.stat().st_dev:  # nothing can be renamed to there
            raise FetchFailed(f"{place} is on another file system than {folder}: fetch to it by itself")
    for path in paths:
        place = folder / path
        if place.is_dir():
            raise FetchFailed(f"{place} is a folder, and there is a file to be fetched for its place: move it away")


def publish(new: Path, folder: Path, gone: Set[Path] = frozenset()) -> None:
    """Move everything below `new` to the same place below `folder`; these places have been checked.

    What lies in a version that is exchanged comes along, but for the files that are `gone`.
    """
    for entry in sorted(new.iterdir(), key=_order):
        place = folder / entry.name
        if not (entry.is_dir() and place.exists()):
            entry.replace(place)
        elif entry.name.isdecimal():
            _adopt(place, entry, gone)
            exchange(entry, place)
        else:
            publish(entry, place, gone)


def remove(gone: Set[Path], folder: Path, corner: Path) -> None:
    """A folder below `folder` that holds nothing else goes at once and whole: an empty one would be a broken model."""
    for number, path in enumerate(sorted(gone)):
        emptied = [parent for parent in path.parents if folder in parent.parents and _is_gone(parent, gone)]
        if emptied:
            emptied[-1].rename(corner / f"\\gone {number}")
        else:
            path.unlink(missing_ok=True)


def _is_gone(place: Path, gone: Set[Path]) -> bool:
    if place.is_dir() and not place.is_symlink():
        return all(_is_gone(each, gone) for each in place.iterdir())
    return place in gone


def put_back(new: Path, folder: Path) -> None:
    """What lies aside since an exchange by renaming has ended in its middle."""
    for aside in list(new.rglob(f"*{_ASIDE}")):
        place = folder / str(aside.relative_to(new)).removesuffix(_ASIDE)
        if not place.exists():
            aside.rename(place)


def make_removable(new: Path) -> None:
    """What was exchanged may have had folders in it that are read-only."""
    for place, names, _ in os.walk(new):
        for folder in (Path(place, name) for name in names):
            if not folder.is_symlink():
                with suppress(OSError):  # somebody else's: whoever removes it says so
                    folder.chmod(0o700)


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
    shutil.copymode(old, new)


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
    aside = one.with_name(f"{one.name}{_ASIDE}")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)
