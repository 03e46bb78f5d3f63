"""A glance at a repository: whatever a deployment does to it makes it look different."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.typing import EventDict

from service.supervision.watch import Look, look_at, watch
from service.wishes import Wish, Wishes
from tests.unit.loop import until


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """As Kubernetes mounts one: the model lies behind two links."""
    for version in ("one", "two"):
        (tmp_path / "models" / version / "cat").mkdir(parents=True)
        (tmp_path / "models" / version / "cat" / "model.onnx").write_text("cat")
    (tmp_path / "models" / "..data").symlink_to("one")
    (tmp_path / "models" / "cat").symlink_to("..data/cat")
    return tmp_path / "models"


def swap_link(repository: Path) -> None:
    (repository / "..new").symlink_to("two")
    (repository / "..new").rename(repository / "..data")


def write_more(repository: Path) -> None:
    (repository / "one" / "cat" / "model.onnx").write_text("a larger cat")


def write_anew(repository: Path) -> None:
    file = repository / "one" / "cat" / "model.onnx"
    before = file.stat()
    (repository / "one" / "draft").write_text("dog")
    (repository / "one" / "draft").rename(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def take_away(repository: Path) -> None:
    (repository / "one" / "cat" / "model.onnx").unlink()


@pytest.mark.parametrize("change", [swap_link, write_more, write_anew, take_away])
def test_a_change_is_seen(change: Callable[[Path], None], repository: Path) -> None:
    before = look_at(repository)
    assert look_at(repository) == before
    change(repository)
    assert look_at(repository) != before


@pytest.mark.parametrize("name", [".fetch/lock", ".git/index", "one/cat/.ipynb_checkpoints/x"])
def test_hidden_folders_are_nobodys_models(repository: Path, name: str) -> None:
    (repository / name).parent.mkdir()
    before = look_at(repository)
    (repository / name).write_text("x")
    assert look_at(repository) == before


def test_what_a_hidden_link_leads_to_is_looked_at(repository: Path) -> None:
    """Kubernetes keeps each state of a volume in a hidden folder, and `..data` leads to it."""
    (repository / "one").rename(repository / "..2026_11_21")
    (repository / "..data").unlink()
    (repository / "..data").symlink_to("..2026_11_21")
    before = look_at(repository)
    (repository / "..2026_11_21" / "cat" / "model.onnx").write_text("a larger cat")
    assert look_at(repository) != before


def test_links_to_folders_above_or_outside_are_not_followed(repository: Path, tmp_path: Path) -> None:
    """Two links to where they lie make a billion paths."""
    for name in ("self", "again"):
        (repository / "one" / name).symlink_to(".")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (repository / "away").symlink_to(tmp_path / "outside")
    before = look_at(repository)
    assert len(before) < 20
    (tmp_path / "outside" / "secret").write_text("xyz")
    assert look_at(repository) == before


def test_a_repository_that_is_one_file_or_gone_can_be_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "cat.onnx"
    assert look_at(file) == frozenset()
    file.write_text("cat")
    before = look_at(file)
    file.write_text("dog!")
    assert before != look_at(file) != frozenset()


def test_several_places_are_looked_at(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("one")
    before = look_at(repository, tmp_path / "keys.toml")
    assert before == look_at(repository) | look_at(tmp_path / "keys.toml")
    (tmp_path / "keys.toml").write_text("another")
    assert look_at(repository, tmp_path / "keys.toml") != before


def test_a_change_that_has_come_to_rest_is_one_wish(repository: Path, tmp_path: Path, glances: list[Look]) -> None:
    wishes = Wishes(tmp_path / "wishes")

    async def scenario() -> None:
        watching = asyncio.create_task(watch([repository], 0.001, wishes, is_read=True))
        await until_looked(glances)
        (repository / "dog").write_text("dog")
        await until(lambda: wishes.after(0))
        await until_looked(glances)
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(scenario())
    assert wishes.after(0) == (Wish(), len(Wish().model_dump_json()) + 1)


@pytest.fixture
def glances(monkeypatch: pytest.MonkeyPatch) -> list[Look]:
    """What the watch has seen, each time."""
    seen: list[Look] = []

    def look(*places: Path) -> Look:
        seen.append(look_at(*places))
        return seen[-1]

    monkeypatch.setattr("service.supervision.watch.look_at", look)
    return seen


async def until_looked(glances: list[Look]) -> None:
    """More than once, since a change has to be seen to rest."""
    before = len(glances)
    await until(lambda: len(glances) >= before + 4)


def test_a_wish_that_cannot_be_written_is_tried_again(
    repository: Path, tmp_path: Path, records: list[EventDict]
) -> None:
    wishes = Wishes(tmp_path / "run" / "wishes")

    async def scenario() -> None:
        watching = asyncio.create_task(watch([repository], 0.001, wishes, is_read=False))
        await until(lambda: records)
        (tmp_path / "run").mkdir()
        await until(lambda: wishes.after(0))
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(scenario())
    assert records[0]["event"] == "reload_impossible"
    assert records[0]["reason"] == "the wish cannot be written: No such file or directory"
