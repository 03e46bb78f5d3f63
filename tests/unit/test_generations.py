"""What the manifests of a service say, to whoever tells of it: a scrape, a worker's sweep."""

from pathlib import Path

import pytest

from service.board import Board
from service.engine.manifest import Manifest
from service.engine.repository import Refusal
from service.generations import Generations
from service.seat import Seat
from service.telemetry.versions import Versions
from tests import tiny
from tests.unit.loading import entry

DOG = Refusal(name="dog", version=2, reason="it is broken")


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    """Sees three generations, of a cat of the same version; in the second one a dog was refused."""
    seat = Seat()
    seat.share(Board(slots=1), tmp_path)
    for number in (1, 2, 3):
        cat = entry(tiny.double(), tmp_path / str(number), "cat", version=number)
        Manifest(generation=number, entries=(cat,), refusals=(DOG,) * (number == 2)).write(seat.manifest_of(number))
    return seat


def cat(versions: Versions) -> tuple[list[int], list[int]]:
    """Its served versions, and those before."""
    return [number for _, number, _ in versions.served], [number for _, number, _ in versions.before]


def test_they_are_what_is_committed_and_what_that_has_replaced(seat: Seat) -> None:
    generations = Generations(seat)
    assert generations() == Versions()
    told = []
    for number in (1, 2, 3):
        seat.board.service.commit(number, 1)
        told.append((*cat(generations()), generations().refused))
    nothing: frozenset[tuple[str, int]] = frozenset()
    assert told == [([1], [], nothing), ([2], [1], {("dog", 2)}), ([3], [2], nothing)]


def test_who_comes_later_knows_the_same(seat: Seat) -> None:
    """A generation that was prepared in between, and never committed, lies there too."""
    first = Generations(seat)
    for number in (1, 3):
        seat.board.service.commit(number, 1)
        first()
    assert cat(first()) == ([3], [1])
    assert Generations(seat)() == first()


def test_manifests_are_read_once(seat: Seat) -> None:
    generations = Generations(seat)
    seat.board.service.commit(1, 1)
    told = generations()
    seat.manifest_of(1).unlink()
    assert generations() is told
