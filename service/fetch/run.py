"""Fetching as a whole. Nothing appears in the folder before everything has come and been verified."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from service.fetch.address import Address
from service.fetch.failures import FetchFailed, FetchInterrupted
from service.fetch.folder import Folder
from service.fetch.store import Object, Store
from service.fetch.sums import Sums, check_lists, is_sums, mismatch
from service.fetch.transfer import Patience, left, transfer

log = structlog.get_logger()

# Where each object that is new or changed comes to lie first.
Parts = Mapping[Object, Path]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What there is, how much of it had to be fetched, and what of an earlier fetch has gone."""

    objects: int
    fetched: int
    bytes: int
    removed: int


def fetch(address: Address, target: Path, options: Mapping[str, Any], parallel: int) -> Fetched:
    """Make `target` have what lies at the address. Raises StartError; what has come is kept for the next time."""
    store = Store(address, options)
    with Folder.locked(target) as folder:
        objects = Patience()(store.objects, address.shown)
        if not (wanted := [each for each in objects if each.is_kept]):
            raise FetchFailed(f"there is nothing at {address.shown}")
        parts = {each: folder.part(each) for each in objects if not folder.has(each)}
        new = [each for each in parts if each.is_kept]
        folder.check(new)
        folder.forget_parts(but=parts)
        log.info("fetch_begins", source=address.shown, objects=len(objects), changed=len(parts))
        missing = _missing(folder, parts)
        sums = _read_sums(store, folder, objects, parts, parallel)
        check_lists(sums, objects)
        transfer(list(parts.items()), store.read, parallel)
        if Patience()(store.objects, address.shown) != objects:
            raise FetchInterrupted(f"{address.shown} has changed while it was fetched: run it again")
        _verify(sums, folder, objects, parts)
        removed = folder.take(store.origin, wanted, new)
        folder.forget_parts()
    return Fetched(len(wanted), len(new), missing, removed)


def _missing(folder: Folder, parts: Parts) -> int:
    """Bytes that are to come. Raises FetchFailed where there is no room for them."""
    missing, room = left(list(parts.items())), folder.room()
    if missing > room:
        raise FetchFailed(f"{folder.path} has room for {room:,} bytes, {missing:,} are to come")
    return missing


def _read_sums(store: Store, folder: Folder, objects: Sequence[Object], parts: Parts, parallel: int) -> list[Sums]:
    """They come first: what they do not allow need not be fetched."""
    transfer([(each, part) for each, part in parts.items() if is_sums(each.path)], store.read, parallel)
    return [Sums.read(each, place) for each, place in _places(folder, objects, parts) if is_sums(each.path)]


def _verify(sums: Sequence[Sums], folder: Folder, objects: Iterable[Object], parts: Parts) -> None:
    damaged: list[str] = []
    for each, place in _places(folder, objects, parts):
        if not (said := mismatch(sums, each, place)):
            continue
        if each in parts:
            place.unlink()  # to go on from it would never end well
            raise FetchFailed(f"{each.shown} {said}: nothing was changed here; upload the two again")
        folder.forget(each)
        damaged.append(f"{place} {said}")
    if damaged:
        raise FetchInterrupted(f"{damaged[0]}: it was damaged here; run it again, it is fetched anew")


def _places(folder: Folder, objects: Iterable[Object], parts: Parts) -> Iterator[tuple[Object, Path]]:
    return ((each, parts.get(each, folder.path / each.path)) for each in objects)
