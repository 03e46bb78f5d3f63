"""What is withdrawn goes, wherever the run that removes it is ended, and nothing else does."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import service.fetch.folder
import service.fetch.publish
from service.engine.repository import Candidate, scan
from service.fetch.address import Address
from service.fetch.failures import FetchFailed
from service.fetch.run import Fetched, fetch
from tests.unit.fetch.test_publish import read, write


class Killed(BaseException):
    """Nothing handles it."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(
        tmp_path / "source",
        **{"cat__1__model.onnx": "cat", "cat__1__a.data": "a", "cat__model.toml": "", "dog__2__model.onnx": "dog"},
        **{"dog__3__model.onnx": "dog 3", "dog__3__golden__one.json": "{}", "dog__3__golden__two.json": "{}"},
        **{"pig__1__model.onnx": "pig", "pig__model.toml": ""},
    )


@pytest.fixture
def target(tmp_path: Path, source: Path) -> Path:
    bring(source, tmp_path / "target")
    return write(tmp_path / "target", dog__2__notes="mine")


def bring(source: Path | str, target: Path) -> Fetched:
    return fetch(Address.parse(str(source)), target, {}, parallel=1)


def withdraw(source: Path) -> None:
    """A model, a version, a file of a version that changes, and one beside versions."""
    shutil.rmtree(source / "pig")
    shutil.rmtree(source / "dog" / "3")
    (source / "cat" / "1" / "a.data").unlink()
    (source / "cat" / "model.toml").unlink()
    write(source, **{"cat__1__model.onnx": "cat, better", "owl__1__model.onnx": "owl"})


LEFT = {
    "cat/1/model.onnx": "cat, better",
    "dog/2/model.onnx": "dog",
    "dog/2/notes": "mine",
    "owl/1/model.onnx": "owl",
}


def seen(folder: Path) -> dict[str, str]:
    return {path: text for path, text in read(folder).items() if not path.startswith(".fetch/")}


def folders(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob("[!.]*/**/")}


def killed_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """That time when something is about to be renamed, made or removed."""
    steps = iter(range(1, step))

    def hooked(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(steps, None) is None:
                raise Killed
            return function(*arguments, **options)

        return call

    for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "link"):
        patch.setattr(os, name, hooked(getattr(os, name)))
    patch.setattr(service.fetch.publish, "exchange", hooked(service.fetch.publish.exchange))


@pytest.mark.parametrize("step", range(1, 40))
def test_wherever_it_is_killed_no_model_is_broken_and_the_next_one_ends_well(
    source: Path, target: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    withdraw(source)
    take = service.fetch.folder.Folder.take

    def killed(*arguments: Any) -> int:
        with monkeypatch.context() as patch:
            killed_at(step, patch)
            return take(*arguments)

    monkeypatch.setattr(service.fetch.folder.Folder, "take", killed)
    try:
        bring(source, target)
    except Killed:
        assert [found for found in scan(target) if not isinstance(found, Candidate)] == []
        monkeypatch.setattr(service.fetch.folder.Folder, "take", take)
        bring(source, target)
    else:
        assert step > 20, "there were steps to be killed at"
    assert seen(target) == LEFT
    assert folders(target) == {"cat", "cat/1", "dog", "dog/2", "owl", "owl/1"}
    assert bring(source, target) == Fetched(3, 0, 0, 0)
    assert not (target / ".fetch" / "new").exists()


def ended_before_anything_appears(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(service.fetch.folder, "publish", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            bring(source, target)


def test_what_lies_here_is_known_until_its_successor_does(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(source, **{"cat__1__a.data": "another"})
    ended_before_anything_appears(source, target, monkeypatch)
    (source / "cat" / "1" / "a.data").unlink()
    assert bring(source, target).removed == 1
    assert not (target / "cat" / "1" / "a.data").exists()


def test_what_was_replaced_by_its_successor_is_known(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(source, **{"cat__1__a.data": "another"})
    monkeypatch.setattr(service.fetch.folder, "remove", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        bring(source, target)
    monkeypatch.undo()
    assert bring(source, target).fetched == 0
    (source / "cat" / "1" / "a.data").unlink()
    assert bring(source, target).removed == 1


def test_what_somebody_brings_back_stays(source: Path, target: Path, tmp_path: Path) -> None:
    shutil.copytree(target / "dog" / "3", tmp_path / "backup")
    shutil.rmtree(source / "dog" / "3")
    assert bring(source, target).removed == 3
    shutil.copytree(tmp_path / "backup", target / "dog" / "3")
    assert bring(source, target).removed == 0
    assert (target / "dog" / "3" / "model.onnx").exists()


def test_what_somebody_has_changed_is_theirs_for_good(source: Path, target: Path) -> None:
    file = target / "dog" / "3" / "model.onnx"
    before = file.stat()
    file.write_text("mine")
    shutil.rmtree(source / "dog" / "3")
    assert bring(source, target).removed == 2
    file.write_text("dog 3")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bring(source, target).removed == 0
    assert file.exists()


def test_what_came_from_below_or_above_stays(source: Path, tmp_path: Path) -> None:
    """What lies at the one is also at the other, and came from elsewhere."""
    target = tmp_path / "target"
    bring(source / "dog" / "2" / "model.onnx", target)
    bring(source, target)
    assert seen(target).keys() == seen(source).keys() | {"model.onnx"}
    shutil.rmtree(source / "dog")
    assert bring(source / "cat", target).removed == 0
    assert bring(source, target).removed == 4
    assert seen(target).keys() > {"model.onnx", "cat/1/model.onnx", "1/model.onnx"}


@pytest.mark.parametrize("link", ["pig", "pig/1"])
def test_behind_a_link_nothing_is_removed_and_nothing_is_in_the_way(
    source: Path, target: Path, tmp_path: Path, link: str
) -> None:
    (target / link).rename(tmp_path / "disk")
    (target / link).symlink_to(tmp_path / "disk")
    withdraw(source)
    bring(source, target)
    assert seen(target).items() >= LEFT.items()
    assert [path.name for path in (tmp_path / "disk").rglob("*.onnx")] == ["model.onnx"]


def test_a_folder_that_is_a_link_itself_is_as_good_as_any(source: Path, target: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(target)
    shutil.rmtree(source / "pig")
    assert bring(source, tmp_path / "link").removed == 2


@pytest.fixture
def modest() -> Iterator[Path]:
    """A folder of somebody whom modes hold back, as they do not hold back root."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(os.getuid())
        shutil.rmtree(folder)


def replace(file: Path, text: str) -> None:
    """As editors do."""
    write(file.parent, new=text)
    (file.parent / "new").rename(file)


def test_what_lay_in_a_read_only_folder_does_not_come_back(modest: Path) -> None:
    source = write(modest / "source", cat__1__model="old")
    bring(source, modest / "target")
    golden = write(modest / "target" / "cat" / "1" / "golden", mine="mine")
    golden.chmod(0o555)
    write(source, cat__1__model="new")
    bring(source, modest / "target")
    assert not (modest / "target" / ".fetch" / "new").exists()
    assert golden.stat().st_mode & 0o777 == 0o555
    golden.chmod(0o755)
    replace(golden / "mine", "mine, better")
    write(source, cat__1__model="newest")
    bring(source, modest / "target")
    assert seen(modest / "target") == {"cat/1/model": "newest", "cat/1/golden/mine": "mine, better"}


def test_what_was_fetched_into_a_read_only_folder_is_a_part_again(
    modest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(modest / "source", cat__1__model="old", cat__1__golden__one="one")
    bring(source, modest / "target")
    (modest / "target" / "cat" / "1" / "golden").chmod(0o555)
    write(source, cat__1__model="new")
    monkeypatch.setattr(service.fetch.folder, "remove", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        bring(source, modest / "target")
    monkeypatch.undo()
    assert bring(source, modest / "target") == Fetched(2, 0, 0, 0)
    assert not (modest / "target" / ".fetch" / "new").exists()


def test_what_of_an_earlier_run_cannot_be_removed_is_not_taken(modest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(modest / "source", cat__1__model="model")
    stale = write(modest / "target" / ".fetch" / "new", cat__1__mine="stale") / "cat" / "1" / "mine"

    def busy(path: str, **_: Any) -> None:
        raise OSError(16, "Device or resource busy", path)

    monkeypatch.setattr(os, "unlink", busy)
    with pytest.raises(FetchFailed, match=f"{stale.name} cannot be written: Device or resource busy"):
        bring(source, modest / "target")
    assert seen(modest / "target") == {}
