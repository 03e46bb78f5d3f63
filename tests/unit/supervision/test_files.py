"""How many connections a process with so many files may hold."""

import resource

import pytest
from structlog.typing import EventDict

from service.supervision import files


@pytest.mark.parametrize(
    ("asked", "number", "held"),
    [
        (10_000, resource.RLIM_INFINITY, 10_000),
        (10_000, 1 << 20, 10_000),
        (10_000, 10_256, 10_000),
        (10_000, 10_255, 9_999),
        (10_000, 1024, 768),
        (10_000, 256, 128),
        (10, 256, 10),
        (10, 1, 1),
    ],
)
def test_a_process_holds_as_many_connections_as_its_files_allow(asked: int, number: int, held: int) -> None:
    assert files.connections_within(asked, number) == held


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A process that may open 256 files, and 1024 if it asks; each change of that is kept."""
    limits = [(256, 1024)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: limits.append(pair))
    return limits


def test_the_soft_limit_becomes_the_hard_one(limit: list[tuple[int, int]], records: list[EventDict]) -> None:
    assert (files.allow(500), files.allow(500)) == (500, 500)
    assert limit == [(256, 1024), (1024, 1024)]
    assert records == []


def test_it_is_said_when_files_allow_less_than_was_asked(
    limit: list[tuple[int, int]], records: list[EventDict]
) -> None:
    assert files.allow(10_000) == 768
    [record] = records
    assert record.pop("hint").startswith("raise the hard limit of open files")
    assert record == {
        "event": "connections_limited", "log_level": "warning", "connections": 768, "asked": 10_000, "files": 1024,
    }  # fmt: skip
