"""The generation that is served and the one before it, as their manifests say: for whoever tells of them."""

from collections.abc import Iterable

from service.engine.manifest import Entry, Manifest
from service.seat import Seat
from service.telemetry.versions import Served, Versions


class Generations:
    """Reads each manifest of the service once. Blocks, where there is a new one."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._last = ((0, 0), Versions())

    def __call__(self) -> Versions:
        service = self._seat.board.service
        # In this order: of a commit that comes in between, at least the generation that it replaces is seen.
        numbers = (service.generation, service.before)
        known, versions = self._last
        if numbers != known:
            versions = self._read(*numbers)
            self._last = (numbers, versions)
        return versions

    def _read(self, committed: int, before: int) -> Versions:
        manifest = Manifest.read(self._seat.manifest_of(committed))
        earlier = Manifest.read(self._seat.manifest_of(before)).entries if before else ()
        refused = frozenset((refusal.name, refusal.version) for refusal in manifest.refusals)
        return Versions(_served(manifest.entries), _served(earlier), refused)


def _served(entries: Iterable[Entry]) -> tuple[Served, ...]:
    return tuple((entry.name, entry.version, entry.digest) for entry in entries)
