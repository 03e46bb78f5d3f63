"""Where a file may lie, and what is refused before it is read."""

import os
import socket
from io import BufferedReader
from pathlib import Path

import pytest

from service.engine import places
from service.engine.places import Root, Stamp, open_regular, read
from service.errors import RepositoryError


def lay(file: Path, content: str = "x") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a version in it."""
    lay(tmp_path / "models" / "cat" / "1" / "model.onnx")
    return tmp_path / "models"


def test_links_inside_are_followed(root: Path) -> None:
    """The layout of a Kubernetes volume, which swaps `..data`, included."""
    lay(root / "..2026" / "dog" / "1" / "model.onnx")
    (root / "..data").symlink_to("..2026")
    (root / "dog").symlink_to("..data/dog")
    (root / "cat" / "1" / "copy").symlink_to(root / "cat" / "1" / "model.onnx")
    for place in ("dog", "dog/1", "dog/1/model.onnx", "cat/1/copy", "cat/2", ""):
        Root(root).check(root / place)


@pytest.mark.parametrize("place", ["leak", "leak/passwd", "cat/1/leak", "dangling", "up/x"])
def test_a_link_that_leads_out_is_refused(root: Path, place: str) -> None:
    (root / "leak").symlink_to("/etc")
    (root / "cat" / "1" / "leak").symlink_to("../../../models-too")
    (root / "dangling").symlink_to("/none/at/all")
    (root / "up").symlink_to("..")
    with pytest.raises(RepositoryError) as caught:
        Root(root).check(root / place)
    assert str(caught.value) == (
        f"{root / place} leads out of the repository {root}, to {os.path.realpath(root / place)}: "
        "copy it to where the link is"
    )


def test_a_link_that_takes_a_files_place_after_it_was_checked_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, file = lay(root.parent / "secret"), root / "cat" / "1" / "model.onnx"
    opened: list[BufferedReader] = []

    def swap(place: Path) -> BufferedReader:
        place.unlink()
        place.symlink_to(secret)
        opened.append(open_regular(place))
        return opened[0]

    monkeypatch.setattr(places, "open_regular", swap)
    with pytest.raises(RepositoryError) as caught:
        Root(root).open(file)
    assert str(caught.value).startswith(f"{file} leads out of the repository {root}, to {os.path.realpath(secret)}: ")
    assert opened[0].closed


def test_what_lies_inside_is_opened_behind_links_and_where_it_was_replaced(root: Path) -> None:
    link = root / "cat" / "1" / "copy"
    link.symlink_to(root / "cat" / "1" / "model.onnx")
    with Root(root).open(link) as stream:
        assert stream.read() == b"x"
    (root.parent / "link").symlink_to(root)
    with Root(root.parent / "link").open(root.parent / "link" / "cat" / "1" / "copy") as stream:
        assert stream.read() == b"x"
    assert Root(root).read(link, 1) == b"x"


def test_a_loop_of_links_does_not_last(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    Root(root).check(root / "a")
    with pytest.raises(RepositoryError, match=r"/a cannot be read: Too many levels of symbolic links$"):
        read(root / "a", 1)


def test_a_repository_may_be_a_link_itself(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    Root(link).check(link / "cat" / "1" / "model.onnx")
    (root / "out").symlink_to(lay(root.parent / "other"))
    with pytest.raises(RepositoryError, match="leads out of the repository"):
        Root(link).check(link / "out")


def test_a_file_that_is_a_repository_may_lie_behind_a_link(root: Path) -> None:
    link = root.parent / "cat.onnx"
    link.symlink_to(root / "cat" / "1" / "model.onnx")
    for beside in (link, root.parent / "SHA256SUMS", root / "cat" / "1" / "weights.bin"):
        Root.of_file(link).check(beside)
    with pytest.raises(RepositoryError, match="leads out of the repository"):
        Root.of_file(link).check(Path("/etc/hostname"))


def test_the_way_up_ends_at_the_root(root: Path) -> None:
    version = root / "cat" / "1"
    assert Root(root).up_from(version) == [version, root / "cat", root]
    assert Root(root).up_from(root) == [root]
    assert Root(version).up_from(root) == [root]


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(place))
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero")
    with pytest.raises(RepositoryError) as caught:
        read(place, 1)
    assert str(caught.value) == f"{place} is not a regular file: copy a file there"


def test_a_file_that_became_a_fifo_meanwhile_is_refused_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular = lay(tmp_path / "regular").stat()
    os.mkfifo(tmp_path / "place")
    monkeypatch.setattr(Path, "stat", lambda path: regular)
    with pytest.raises(RepositoryError, match="is not a regular file"):
        open_regular(tmp_path / "place")


@pytest.mark.parametrize(("name", "reason"), [("none", "No such file or directory"), ("x/y", "Not a directory")])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str, reason: str) -> None:
    lay(tmp_path / "x")
    with pytest.raises(RepositoryError, match=f"cannot be read: {reason}$"):
        read(tmp_path / name, 1)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = lay(tmp_path / "file")
    os.truncate(file, 2 << 20)
    assert len(read(file, 2 << 20)) == 2 << 20
    os.truncate(file, (2 << 20) + 1)
    with pytest.raises(RepositoryError) as caught:
        read(file, 2 << 20)
    assert str(caught.value) == f"{file} is larger than 2 MiB, the most that is read of such a file"


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    file = lay(tmp_path / "file")
    os.utime(file, ns=(0, 0))
    stamps = [Stamp.of(file)]
    file.write_text("y")
    os.utime(file, ns=(0, 1))
    stamps.append(Stamp.of(file))
    file.write_text("yy")
    os.utime(file, ns=(0, 1))
    stamps.append(Stamp.of(file))
    assert len(set(stamps)) == 3
    with open_regular(file) as stream:
        assert Stamp.of_opened(stream) == stamps[-1]
    file.unlink()
    with pytest.raises(RepositoryError, match="file cannot be read: No such file or directory"):
        Stamp.of(file)
