"""What is complete appears at once, and nothing that lay there is lost."""

import ctypes
from pathlib import Path

import pytest

from service.fetch.failures import FetchFailed
from service.fetch.publish import check_places, exchange, publish, put_back, remove


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


def test_a_version_that_lay_aside_when_it_ended_comes_back(
    new: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    write(here, cat__1__mine="mine")
    (new / "cat").mkdir()
    with pytest.raises(FileNotFoundError):  # as good as being killed there
        exchange(new / "cat" / "1", here / "cat" / "1")
    assert read(here) == {}
    put_back(new, here)
    assert read(here) == {"cat/1/mine": "mine"}


def test_one_that_has_been_replaced_does_not(new: Path, here: Path) -> None:
    write(here, cat__1__model="new")
    write(new, **{"cat__1\\old__model": "old"})
    put_back(new, here)
    assert read(here) == {"cat/1/model": "new"}


def test_what_is_gone_goes_and_so_do_folders_that_held_nothing_else(here: Path, new: Path) -> None:
    write(
        here, sums="gone", cat__2__golden__one="gone", cat__2__model="gone", dog__1__model="gone", dog__1__mine="mine"
    )
    gone = {here / path for path in ("sums", "cat/2/golden/one", "cat/2/model", "dog/1/model", "owl/1/model")}
    inode = (here / "cat").stat().st_ino
    remove(gone, here, new)
    assert read(here) == {"dog/1/mine": "mine"}
    assert [path.name for path in here.iterdir()] == ["dog"]
    assert [path.stat().st_ino for path in new.iterdir()] == [inode], "at once"
    (new / "dog").mkdir()
    remove({here / "dog" / "1" / "mine"}, here, new / "dog")
    assert list(here.iterdir()) == []


def test_a_folder_that_leads_elsewhere_is_more_than_what_is_gone(here: Path, new: Path, tmp_path: Path) -> None:
    write(here, dog__1__model="gone")
    (here / "dog" / "1" / "link").symlink_to(write(tmp_path / "empty"))
    remove({here / "dog" / "1" / "model"}, here, new)
    assert [path.name for path in (here / "dog" / "1").iterdir()] == ["link"]


def test_a_file_takes_the_place_of_a_link_and_not_of_what_it_leads_to(new: Path, here: Path, tmp_path: Path) -> None:
    write(tmp_path, outside="theirs")
    (here / "model.onnx").symlink_to(tmp_path / "outside")
    publish(write(new, **{"model.onnx": "ours"}), here)
    assert read(here) == {"model.onnx": "ours"}
    assert (tmp_path / "outside").read_text() == "theirs"


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        ({"cat": "file"}, "cat is no folder"),
        ({"cat__1__golden": "file"}, "golden is no folder"),
        ({"cat__1__model__x": "folder"}, "model is a folder"),
        ({"dog__x": "folder"}, "dog is a folder"),
    ],
)
def test_what_is_of_another_kind_is_not_replaced(here: Path, there: dict[str, str], sentence: str) -> None:
    write(here, **there)
    with pytest.raises(FetchFailed, match=f"{sentence}, and .* to be fetched for its place: move it away"):
        check_places(["cat/1/golden/one", "cat/1/model", "dog"], here)


@pytest.mark.parametrize("target", ["outside", "nowhere"])
def test_a_link_is_no_folder(here: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").mkdir()
    (here / "cat").symlink_to(tmp_path / target)
    with pytest.raises(FetchFailed, match="cat is no folder"):
        check_places(["cat/1/model"], here)


def test_a_folder_on_another_file_system_is_known_before_much_is_fetched() -> None:
    with pytest.raises(FetchFailed, match="/proc is on another file system than /: fetch to it by itself"):
        check_places(["proc/model.onnx"], Path("/"))


def test_what_is_of_the_same_kind_may_be(here: Path, tmp_path: Path) -> None:
    write(here, cat__1__model="old")
    (here / "dog").symlink_to(tmp_path / "nowhere")
    check_places(["cat/1/model", "cat/1/golden/one", "cat/2/model", "dog"], here)
