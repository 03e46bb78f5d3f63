"""Prepared models on disk: written whole or not at all, held by whoever uses them, removed when they are old."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.typing import EventDict

from service.engine.cache import MODEL, WEIGHTS, Cache, CacheUnusable, Hold

DAY = 86_400
DRAFT = ".draft-"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the cache is going to be; it is not there yet."""
    return tmp_path / "some" / "cache"


@pytest.fixture
def cache(place: Path) -> Cache:
    """Entries stay for a week."""
    return Cache(place, keep_days=7)


def put(cache: Cache, key: str = "cat", text: str = "graph") -> Path:
    """An entry of two small files; the path of its model."""
    with cache.draft(key, 0) as draft:
        (draft / MODEL).write_text(text)
        (draft / WEIGHTS).write_text("weights")
    found = cache.find(key)
    assert found
    return found


def fill_half(cache: Cache, error: BaseException) -> None:
    with cache.draft("cat", 0) as draft:
        (draft / MODEL).write_text("half a gra")
        raise error


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(place: Path) -> list[str]:
    return sorted(each.name for each in place.iterdir())


def make_old(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def disk_of(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))


def let_go(hold: Hold) -> None:
    """As the end of its process does."""
    hold._file.close()


@contextmanager
def held(model: Path) -> Iterator[None]:
    hold = Hold(model)
    try:
        yield
    finally:
        let_go(hold)


@contextmanager
def a_child_of_this_process() -> Iterator[None]:
    """It has all that is open here, and lives until the block ends."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(theirs)
        os.read(ours, 1)  # nothing ever comes: the other end is closed
        os._exit(0)
    os.close(ours)
    try:
        yield
    finally:
        os.close(theirs)
        assert os.waitpid(pid, 0) == (pid, 0)


def refusal(cache: Cache, size: int = 0) -> str:
    with pytest.raises(CacheUnusable) as caught, cache.draft("cat", size):
        raise AssertionError("there is a draft")
    assert cache.find("cat") is None
    return str(caught.value)


def test_what_is_not_there_is_not_found(cache: Cache) -> None:
    assert cache.find("cat") is None


def test_a_draft_becomes_an_entry_when_its_block_ends(cache: Cache, place: Path) -> None:
    with cache.draft("cat", 0) as draft:
        (draft / MODEL).write_text("graph")
        (draft / WEIGHTS).write_text("weights")
        assert cache.find("cat") is None
    assert cache.find("cat") == place / "cat" / MODEL
    assert names(place) == ["cat"]
    assert {file.name: file.read_text() for file in (place / "cat").iterdir()} == {
        MODEL: "graph",
        WEIGHTS: "weights",
        "SHA256SUMS": f"{sha256(b'graph')}  {MODEL}\n{sha256(b'weights')}  {WEIGHTS}\n",
        "lock": "",
    }


def test_nobody_may_write_into_an_entry(cache: Cache, place: Path) -> None:
    put(cache)
    assert {file.stat().st_mode & 0o777 for file in (place / "cat").iterdir()} == {0o444}


def test_all_users_may_read_an_entry(cache: Cache, place: Path) -> None:
    put(cache)
    assert (place / "cat").stat().st_mode & 0o777 == 0o755


def test_an_entry_is_on_the_disk_before_it_is_in_its_place(
    cache: Cache, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not leave half of one."""
    synced: list[str] = []

    def remember(descriptor: int) -> None:
        assert not (place / "cat").exists()
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", remember)
    before = names(Path("/proc/self/fd"))
    put(cache)
    assert sorted(synced) == ["SHA256SUMS", "lock", MODEL, WEIGHTS]
    assert names(Path("/proc/self/fd")) == before


@pytest.mark.parametrize("error", [LookupError("lost"), KeyboardInterrupt()])
def test_nothing_remains_of_a_draft_whose_block_fails(cache: Cache, place: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fill_half(cache, error)
    assert cache.find("cat") is None
    assert names(place) == []


def test_the_first_of_two_that_make_the_same_entry_wins(cache: Cache, place: Path) -> None:
    with cache.draft("cat", 0) as draft:
        (draft / MODEL).write_text("second")
        put(cache, text="first")
    found = cache.find("cat")
    assert found
    assert found.read_text() == "first"
    assert names(place) == ["cat"]


def test_an_entry_that_cannot_be_put_in_its_place_is_said(cache: Cache, place: Path) -> None:
    with pytest.raises(CacheUnusable) as caught, cache.draft("cat", 0):
        (place / "cat").touch()
    assert str(caught.value) == f"{place} is not writable: Not a directory"
    assert names(place) == ["cat"]


def change(file: Path, text: str = "other") -> None:
    file.chmod(0o644)
    file.write_text(text, errors="surrogateescape")


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: change(entry / MODEL),
        lambda entry: change(entry / MODEL, ""),
        lambda entry: change(entry / WEIGHTS),
        lambda entry: change(entry / "SHA256SUMS"),
        lambda entry: change(entry / "SHA256SUMS", ""),
        lambda entry: change(entry / "SHA256SUMS", "\udcff\n"),
        lambda entry: (entry / WEIGHTS).unlink(),
        lambda entry: (entry / MODEL).unlink(),
        lambda entry: (entry / "SHA256SUMS").unlink(),
    ],
)
def test_a_damaged_entry_is_removed_with_a_word(
    cache: Cache, place: Path, records: list[EventDict], damage: Callable[[Path], None]
) -> None:
    damage(put(cache).parent)
    assert cache.find("cat") is None
    assert names(place) == []
    assert records == [
        {
            "event": "cache_damaged",
            "log_level": "warning",
            "entry": str(place / "cat"),
            "reason": "the files are not as they were written",
            "removed": True,
        }
    ]
    put(cache)


def test_a_damaged_entry_that_somebody_holds_stays(cache: Cache, place: Path, records: list[EventDict]) -> None:
    model = put(cache)
    with held(model):
        change(model)
        assert cache.find("cat") is None
        assert names(place) == ["cat"]
    assert cache.find("cat") is None
    assert names(place) == []
    assert [(record["event"], record["removed"]) for record in records] == [
        ("cache_damaged", False),
        ("cache_damaged", True),
    ]


@pytest.mark.parametrize("begin", [Cache.prune, lambda cache: cache.find("cat")])
def test_an_entry_of_which_half_was_removed_when_its_process_was_killed_is_none(
    cache: Cache, place: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Cache], object]
) -> None:
    """Its lock may be what has gone: nobody could hold it then, or see how old it is."""
    model = put(cache)
    change(model)
    make_old(model.parent / "lock", 8 * DAY)

    def be_killed(entry: Path) -> None:
        (entry / "lock").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", be_killed)
        with pytest.raises(KeyboardInterrupt):
            begin(cache)
    [left] = names(place)
    assert left.startswith(DRAFT)
    assert put(cache).read_text() == "graph"
    make_old(place / left, 3700)
    cache.prune()
    assert names(place) == ["cat"]


def test_what_others_have_put_beside_the_files_of_an_entry_is_no_damage(
    cache: Cache, place: Path, records: list[EventDict]
) -> None:
    model = put(cache)
    (model.parent / "some.log").write_text("a line")
    (model.parent / "__pycache__").mkdir()
    (model.parent / "__pycache__" / "some.pyc").write_text("code")
    assert cache.find("cat") == model
    assert records == []


def test_a_file_may_have_any_name_of_one_line(cache: Cache) -> None:
    with cache.draft("cat", 0) as draft:
        (draft / "files").mkdir()
        (draft / "files" / "two  blanks, a\rreturn, and \u2028").write_text("text")
    assert cache.find("cat", "files")


def test_an_empty_folder_is_whole_too(cache: Cache, place: Path) -> None:
    with cache.draft("cat", 0) as draft:
        (draft / "files").mkdir()
    assert cache.find("cat", "files") == place / "cat" / "files"
    (place / "cat" / "files").rmdir()
    assert cache.find("cat", "files") is None


def test_nobody_may_put_a_file_into_a_folder_of_an_entry(cache: Cache, place: Path) -> None:
    """It can be removed nevertheless."""
    with cache.draft("cat", 0) as draft:
        (draft / "files").mkdir()
        (draft / "files" / "words.txt").touch()
        with cache.draft("cat", 0) as faster:
            (faster / "files").mkdir()
    assert (place / "cat" / "files").stat().st_mode & 0o777 == 0o555
    assert names(place) == ["cat"]
    make_old(place / "cat" / "lock", 8 * DAY)
    assert cache.prune() == ["cat"]
    assert names(place) == []


def test_a_model_without_weights_of_its_own_is_whole(cache: Cache, place: Path) -> None:
    with cache.draft("cat", 0) as draft:
        (draft / MODEL).write_text("graph")
    assert cache.find("cat") == place / "cat" / MODEL


def test_entries_do_not_meet(cache: Cache) -> None:
    files = [put(cache, key, text) for key, text in (("cat", "one"), ("dog", "two"))]
    assert [file.read_text() for file in files] == ["one", "two"]


@pytest.mark.parametrize(("folder", "reason"), [("file", "File exists"), ("file/cache", "Not a directory")])
def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, folder: str, reason: str) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / folder, 7)
    assert refusal(cache) == f"{tmp_path}/{folder} is not writable: {reason}"
    with pytest.raises(CacheUnusable, match=reason):
        cache.try_out()


def test_a_cache_that_is_tried_out_keeps_nothing_of_it(cache: Cache, place: Path) -> None:
    cache.try_out()
    assert names(place) == []


def test_a_disk_without_room_is_named_with_what_is_missing(cache: Cache, place: Path) -> None:
    sentence = refusal(cache, 1 << 60)
    assert re.fullmatch(rf"{place} has \d+ MiB free, {5 << 39} MiB are needed", sentence)


def test_nothing_remains_of_a_draft_for_which_there_is_no_room(cache: Cache, place: Path) -> None:
    """Tried again in the same process, it fails for the same reason."""
    for _ in range(2):
        assert refusal(cache, 1 << 60).endswith(f"{5 << 39} MiB are needed")
        assert names(place) == []


def test_a_draft_that_a_killed_process_has_left_does_not_stand_in_the_way(cache: Cache, place: Path) -> None:
    """In a container the pids of one life are those of the next."""
    left = f"{DRAFT}cat-{os.getpid()}"
    (place / left).mkdir(parents=True)
    put(cache)
    assert names(place) == [left, "cat"]


@pytest.mark.parametrize(("free", "sentence"), [(10 << 20, None), ((10 << 20) - 1, "9 MiB free, 10 MiB are needed")])
def test_room_is_wanted_for_two_and_a_half_times_the_model(
    cache: Cache, place: Path, monkeypatch: pytest.MonkeyPatch, free: int, sentence: str | None
) -> None:
    disk_of(monkeypatch, free)
    if sentence:
        assert refusal(cache, 4 << 20) == f"{place} has {sentence}"
    else:
        with cache.draft("cat", 4 << 20) as draft:
            (draft / MODEL).touch()
        assert cache.find("cat")


@pytest.mark.parametrize(
    ("keep_days", "age", "removed"),
    [
        (7, 0, []),
        (7, 7 * DAY - 60, []),
        (7, 7 * DAY + 60, ["cat"]),
        (0.5, DAY / 2 - 60, []),
        (0.5, DAY / 2 + 60, ["cat"]),
        (0, 60, ["cat"]),
    ],
)
def test_what_nobody_has_used_for_long_is_removed(
    place: Path, keep_days: float, age: float, removed: list[str]
) -> None:
    cache = Cache(place, keep_days)
    make_old(put(cache).parent / "lock", age)
    assert cache.prune() == removed
    assert names(place) == ([] if removed else ["cat"])


def test_the_keys_of_all_that_were_removed_are_told(cache: Cache, place: Path) -> None:
    for key, age in (("owl", 9), ("cat", 8), ("dog", 1)):
        make_old(put(cache, key).parent / "lock", age * DAY)
    assert cache.prune() == ["cat", "owl"]
    assert names(place) == ["dog"]


@pytest.mark.parametrize(("age", "left"), [(0, [f"{DRAFT}cat-1"]), (3500, [f"{DRAFT}cat-1"]), (3700, [])])
def test_a_draft_that_has_lost_its_maker_is_removed_without_a_word(
    cache: Cache, place: Path, age: float, left: list[str]
) -> None:
    draft = place / f"{DRAFT}cat-1"
    draft.mkdir(parents=True)
    (draft / MODEL).touch()
    make_old(draft, age)
    assert cache.prune() == []
    assert names(place) == left


def test_what_is_no_entry_is_left_alone(cache: Cache, place: Path) -> None:
    make_old(put(cache).parent / "lock", 8 * DAY)
    (place / "a folder").mkdir()
    (place / "a file").touch()
    assert cache.prune() == ["cat"]
    assert names(place) == ["a file", "a folder"]


def test_there_is_nothing_to_remove_from_a_cache_that_is_not_there(cache: Cache) -> None:
    assert cache.prune() == []


def test_an_entry_in_use_is_kept_however_old_it_is(cache: Cache) -> None:
    model = put(cache)
    with held(model):
        make_old(model.parent / "lock", 8 * DAY)
        assert cache.prune() == []
    assert cache.prune() == ["cat"]


def test_an_entry_is_kept_until_its_last_user_has_gone(cache: Cache) -> None:
    model = put(cache)
    with held(model):
        with held(model):
            pass
        make_old(model.parent / "lock", 8 * DAY)
        assert cache.prune() == []
    assert cache.prune() == ["cat"]


def test_whoever_finds_an_entry_makes_it_young(cache: Cache) -> None:
    model = put(cache)
    make_old(model.parent / "lock", 8 * DAY)
    assert cache.find("cat")
    assert cache.prune() == []


def test_an_entry_that_nobody_may_touch_is_found_and_stays_old(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    model = put(cache)
    make_old(model.parent / "lock", 8 * DAY)

    def refuse(*path: Any) -> None:
        raise PermissionError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(os, "utime", refuse)
        assert cache.find("cat") == model
    assert cache.prune() == ["cat"]


# From Python 3.12 on; the child only waits and leaves.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_of_whoever_held_an_entry_goes_on_holding_it(cache: Cache) -> None:
    model = put(cache)
    hold = Hold(model)
    make_old(model.parent / "lock", 8 * DAY)
    with a_child_of_this_process():
        let_go(hold)
        assert cache.prune() == []
    assert cache.prune() == ["cat"]


def test_a_place_that_cannot_even_be_looked_at_has_no_entries(tmp_path: Path, records: list[EventDict]) -> None:
    """A name that no file system takes; another user's directory answers in the same way."""
    cache = Cache(tmp_path / ("x" * 300), keep_days=7)
    assert (cache.find("cat"), cache.prune()) == (None, [])
    [record] = records
    assert (record["event"], record["directory"]) == ("cache_unreadable", str(tmp_path / ("x" * 300)))


def test_a_draft_that_can_no_longer_be_written_is_named(cache: Cache, place: Path) -> None:
    """As on a disk that has become full; here it was taken away."""
    with pytest.raises(CacheUnusable, match="cannot be written: No such file or directory"):  # noqa: SIM117
        with cache.draft("cat", 0) as draft:
            shutil.rmtree(draft)
    assert names(place) == []
