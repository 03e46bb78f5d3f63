"""What a transform may read, kept as it was when it was checked."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.typing import EventDict

from service.engine.cache import Cache, Hold
from service.engine.manifest import Code, Entry
from service.engine.snapshot import folder_of, snapshot
from service.errors import RepositoryError
from tests import tiny
from tests.unit.loading import entry


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", keep_days=7)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A file beside `model.toml`, by a name that the cache has for one of its own."""
    (tmp_path / "tiny").mkdir()
    file = tmp_path / "tiny" / "lock"
    file.write_text("one")
    return file


def checked(root: Path, *files: Path) -> Entry:
    """A version whose transform may read these."""
    beside = tuple((file, sha256(file.read_bytes()).hexdigest()) for file in files)
    code = Code(folder=root / "tiny", target="transform.py", digest="", files=beside)
    return entry(tiny.double(), root).model_copy(update={"transform": code})


def read_from(entry: Entry) -> Path:
    assert entry.transform
    return folder_of(entry, entry.transform)


def test_copies_are_made_once_and_read_from_then_on(tmp_path: Path, cache: Cache, words: Path) -> None:
    version = checked(tmp_path, words)
    kept = snapshot(version, cache)
    words.write_text("two")
    assert kept
    assert snapshot(version, cache) == kept
    assert [(file.name, file.read_text()) for file in kept.iterdir()] == [("lock", "one")]
    assert read_from(version.model_copy(update={"snapshot": kept})) == kept


def test_what_a_transform_has_written_there_changes_nothing(tmp_path: Path, cache: Cache, words: Path) -> None:
    """Nobody may, but root may do anything."""
    version = checked(tmp_path, words)
    kept = snapshot(version, cache)
    assert kept
    assert [place.stat().st_mode & 0o777 for place in (kept, kept / "lock")] == [0o555, 0o444]
    kept.chmod(0o755)
    (kept / "some.log").write_text("a line")
    assert snapshot(version, cache) == kept
    assert read_from(version.model_copy(update={"snapshot": kept})) == kept


def test_other_content_is_another_snapshot(tmp_path: Path, cache: Cache, words: Path) -> None:
    version = checked(tmp_path, words)
    first = snapshot(version, cache)
    words.write_text("two")
    changed = sha256(b"two").hexdigest()
    code = Code(folder=words.parent, target="transform.py", digest="", files=((words, changed),))
    assert snapshot(version.model_copy(update={"transform": code}), cache) != first


def test_a_model_without_code_needs_none(tmp_path: Path, cache: Cache) -> None:
    assert snapshot(entry(tiny.double(), tmp_path), cache) is None


def test_code_that_reads_nothing_has_a_folder_with_nothing_in_it(tmp_path: Path, cache: Cache, words: Path) -> None:
    kept = snapshot(checked(tmp_path), cache)
    assert kept
    assert list(kept.iterdir()) == []


def test_a_snapshot_that_is_held_is_not_pruned(tmp_path: Path, cache: Cache, words: Path) -> None:
    kept = snapshot(checked(tmp_path, words), cache)
    assert kept
    os.utime(kept.parent / "lock", (0, 0))
    hold = Hold(kept)
    assert cache.prune() == []
    hold._file.close()
    assert cache.prune() == [kept.parent.name]


def test_what_changes_before_it_is_copied_is_refused(tmp_path: Path, cache: Cache, words: Path) -> None:
    version = checked(tmp_path, words)
    words.write_text("two")
    with pytest.raises(RepositoryError, match="lock has changed since it was checked; "):
        snapshot(version, cache)


def test_what_goes_before_it_is_copied_is_named(tmp_path: Path, cache: Cache, words: Path) -> None:
    version = checked(tmp_path, words)
    words.unlink()
    with pytest.raises(RepositoryError, match="lock cannot be read: No such file or directory"):
        snapshot(version, cache)


def test_without_a_cache_the_files_themselves_are_read(tmp_path: Path, words: Path, records: list[EventDict]) -> None:
    (tmp_path / "file").touch()
    version = checked(tmp_path, words)
    assert snapshot(version, Cache(tmp_path / "file", keep_days=7)) is None
    assert [record["event"] for record in records if record["log_level"] == "warning"][-1] == "not_kept"
    assert read_from(version) == words.parent


def test_a_snapshot_that_is_lost_is_not_missed_while_the_files_are_the_same(
    tmp_path: Path, words: Path, records: list[EventDict]
) -> None:
    version = checked(tmp_path, words).model_copy(update={"snapshot": tmp_path / "gone"})
    assert read_from(version) == words.parent
    assert [record["event"] for record in records] == ["snapshot_lost"]
