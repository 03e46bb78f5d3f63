"""What is complete appears at once, and nothing that lay there is lost."""

import ctypes
from pathlib import Path

import pytest

from service.fetch.failures import FetchFailed
from service.fetch.publish import exchange, publish


def write(folder: Path, **files: str) -> Path:
    """A double underscore is a slash."""
    for name, text in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def test_a_folder_that_was_not_there_is_the_very_one_that_was_filled(new: Path, here: Path) -> None:
    write(new, cat__1__model="a", cat__2__model="b")
    inode = (new / "cat").stat().st_ino
    publish(new, here)
    assert read(here) == {"cat/1/model": "a", "cat/2/model": "b"}
    assert (here / "cat").stat().st_ino == inode


def test_a_version_that_was_there_is_exchanged_as_a_whole(new: Path, here: Path) -> None:
    write(here, cat__1__model="old", cat__1__golden__mine="mine", cat__1__notes__deep="deep", cat__2__model="b")
    write(new, cat__1__model="new", cat__1__golden__one="one")
    inode = (new / "cat" / "1").stat().st_ino
    publish(new, here)
    assert (here / "cat" / "1").stat().st_ino == inode
    assert read(here) == {
        "cat/1/golden/mine": "mine",
        "cat/1/golden/one": "one",
        "cat/1/model": "new",
        "cat/1/notes/deep": "deep",
        "cat/2/model": "b",
    }


def test_what_is_gone_does_not_come_along_when_a_version_is_exchanged(new: Path, here: Path) -> None:
    write(here, cat__1__model="old", cat__1__golden__one="gone", cat__1__deep__a__b="gone", cat__1__notes__mine="mine")
    (here / "cat" / "1" / "empty").mkdir()
    write(new, cat__1__model="new")
    publish(new, here, {here / "cat" / "1" / path for path in ("golden/one", "deep/a/b")})
    assert read(here) == {"cat/1/model": "new", "cat/1/notes/mine": "mine"}
    assert sorted(path.name for path in (here / "cat" / "1").iterdir()) == ["empty", "model", "notes"]


def test_where_folders_cannot_be_exchanged_they_are_renamed(
    new: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    exchange(write(new / "1", a="new"), write(here / "1", a="old"))
    assert (read(new), read(here)) == ({"1/a": "old"}, {"1/a": "new"})


def test_a_file_takes_the_place_of_a_link_and_not_of_what_it_leads_to(new: Path, here: Path, tmp_path: Path) -> None:
    write(tmp_path, outside="theirs")
    (here / "model.onnx").symlink_to(tmp_path / "outside")
    publish(write(new, **{"model.onnx": "ours"}), here)
    assert read(here) == {"model.onnx": "ours"}
    assert (tmp_path / "outside").read_text() == "theirs"


@pytest.mark.parametrize("there", [{"cat": "file"}, {"dog__x": "folder"}])
def test_what_is_of_another_kind_is_not_replaced(new: Path, here: Path, there: dict[str, str]) -> None:
    write(here, **there)
    before = read(here)
    with pytest.raises(FetchFailed, match="move it away"):
        publish(write(new, cat__1__model="a", dog="b"), here)
    assert before.items() <= read(here).items()
