"""Fetching as a whole. Nothing appears in the folder before everything has come and been verified."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from service.fetch.address import Address
from service.fetch.failures import FetchFailed, FetchInterrupted
from service.fetch.folder import Folder
from service.fetch.store import Object, Store
from service.fetch.sums import Sums, check_file, check_lists, is_sums
from service.fetch.transfer import Patience, left, transfer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What there is, and how much of it had to be fetched."""

    objects: int
    fetched: int
    bytes: int


def fetch(address: Address, target: Path, options: Mapping[str, Any], parallel: int) -> Fetched:
    """Make `target` have what lies at the address. Raises StartError; what has come is kept for the next time."""
    store = Store(address, options)
    with Folder.locked(target) as folder:
        objects = Patience()(store.objects, address.shown)
        if not any(each.is_kept for each in objects):
            raise FetchFailed(f"there is nothing at {address.shown}")
        changed = [each for each in objects if not folder.has(each)]
        folder.forget_nameless(changed)
        log.info("fetch_begins", source=address.shown, objects=len(objects), changed=len(changed))
        sums = _read_sums(store, folder, objects, changed, parallel)
        check_lists(sums, objects)
        count = _fill(store, folder, changed, parallel)
        if Patience()(store.objects, address.shown) != objects:
            raise FetchInterrupted(f"{address.shown} has changed while it was fetched: run it again")
        _verify(sums, folder, objects, changed)
        kept = [each for each in changed if each.is_kept]
        if kept:
            folder.take(kept)
        folder.forget_parts()
    return Fetched(sum(each.is_kept for each in objects), len(kept), count)


def _read_sums(
    store: Store, folder: Folder, objects: Sequence[Object], changed: Sequence[Object], parallel: int
) -> list[Sums]:
    """They come first: what they do not allow need not be fetched."""
    _fill(store, folder, [each for each in changed if is_sums(each.path)], parallel)
    return [Sums.read(each, _place(folder, each, changed)) for each in objects if is_sums(each.path)]


def _fill(store: Store, folder: Folder, objects: Iterable[Object], parallel: int) -> int:
    wanted = [(each, folder.part(each)) for each in objects]
    missing, room = left(wanted), folder.room()
    if missing > room:
        raise FetchFailed(f"{folder.path} has room for {room:,} bytes, {missing:,} are to come")
    transfer(wanted, store.read, parallel)
    return missing


def _verify(sums: Sequence[Sums], folder: Folder, objects: Sequence[Object], changed: Sequence[Object]) -> None:
    for each in objects:
        place = _place(folder, each, changed)
        try:
            check_file(sums, each, place)
        except FetchFailed:
            if each in changed:
                place.unlink()  # to go on from it would never end well
            raise


def _place(folder: Folder, each: Object, changed: Sequence[Object]) -> Path:
    return folder.part(each) if each in changed else folder.path / each.path
