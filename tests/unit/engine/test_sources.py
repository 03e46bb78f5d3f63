"""The files of a version: each hashed once, as SHA256SUMS says, and the same from first to last."""

import hashlib
import os
from pathlib import Path

import pytest

from service.engine.places import Root
from service.engine.sources import Sources
from service.errors import RepositoryError


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version of two files."""
    folder = tmp_path / "cat" / "1"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "weights.bin"):
        (folder / name).write_bytes(name.encode())
    return folder


def list_all(folder: Path, *names: str, within: Path | None = None) -> None:
    """A SHA256SUMS `within`, or in the folder itself, with what these files are now."""
    place = within or folder
    lines = [f"{sha256((folder / name).read_bytes())}  {(folder / name).relative_to(place)}\n" for name in names]
    (place / "SHA256SUMS").write_text("".join(lines))


def sources(folder: Path) -> Sources:
    return Sources(folder, Root(folder.parent.parent))


def refusal(sources: Sources, file: Path) -> str:
    """The same whether it is read or only hashed."""
    reasons = set()
    for look in (sources.read, sources.digest):
        with pytest.raises(RepositoryError) as caught:
            look(file)
        reasons.add(str(caught.value))
    [reason] = reasons
    return reason


def test_without_checksums_everything_in_the_repository_is_read(folder: Path) -> None:
    found = sources(folder)
    assert not found.are_verified
    assert found.read(folder / "model.onnx") == b"model.onnx"
    assert found.digest(folder / "model.onnx") == sha256(b"model.onnx")
    assert found.digest(folder / "weights.bin") == sha256(b"weights.bin")
    found.check_listed()
    found.check_unchanged()


def test_what_was_read_is_not_hashed_again(folder: Path) -> None:
    found = sources(folder)
    found.read(folder / "model.onnx")
    (folder / "model.onnx").unlink()
    assert found.digest(folder / "model.onnx") == sha256(b"model.onnx")


@pytest.mark.parametrize("above", [0, 1, 2], ids=["version", "model", "repository"])
def test_what_is_listed_is_verified(folder: Path, above: int) -> None:
    within = (folder, *folder.parents)[above]
    list_all(folder, "model.onnx", "weights.bin", within=within)
    found = sources(folder)
    assert found.are_verified
    assert found.read(folder / "model.onnx") == b"model.onnx"
    assert found.digest(folder / "weights.bin") == sha256(b"weights.bin")


@pytest.mark.parametrize("above", [0, 1, 2], ids=["version", "model", "repository"])
def test_what_is_not_listed_or_listed_otherwise_is_refused(folder: Path, above: int) -> None:
    within = (folder, *folder.parents)[above]
    list_all(folder, "model.onnx", within=within)
    (folder / "model.onnx").write_bytes(b"other")
    found = sources(folder)
    assert f"has SHA-256 {sha256(b'other')[:12]}..., {within}/SHA256SUMS says" in refusal(found, folder / "model.onnx")
    assert f"is not listed in {within}/SHA256SUMS" in refusal(found, folder / "weights.bin")


def test_an_inner_list_does_not_override_an_outer_one(folder: Path) -> None:
    list_all(folder, "model.onnx", within=folder.parent)
    (folder / "model.onnx").write_bytes(b"other")
    list_all(folder, "model.onnx")
    assert "cat/SHA256SUMS says" in refusal(sources(folder), folder / "model.onnx")


@pytest.mark.parametrize("change", ["lost", "changed"])
def test_what_is_listed_must_be_there_even_if_nobody_asks_for_it(folder: Path, change: str) -> None:
    list_all(folder, "model.onnx", "weights.bin")
    if change == "lost":
        (folder / "weights.bin").unlink()
    else:
        (folder / "weights.bin").write_bytes(b"other")
    with pytest.raises(RepositoryError, match=r"weights\.bin (cannot be read: No such file|has SHA-256)"):
        sources(folder).check_listed()
    sources(folder).check_listed("model.onnx")


def test_what_is_listed_of_another_version_does_not_matter(folder: Path) -> None:
    list_all(folder, "model.onnx", within=folder.parent)
    with (folder.parent / "SHA256SUMS").open("a") as stream:
        stream.write(f"{'0' * 64}  2/model.onnx\n")
    sources(folder).check_listed()


def test_what_leads_out_of_the_repository_is_not_even_hashed(folder: Path) -> None:
    (folder / "leak").symlink_to("/etc/hostname")
    assert f"{folder}/leak leads out of the repository" in refusal(sources(folder), folder / "leak")


def test_what_is_no_file_is_not_even_opened(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    assert refusal(sources(folder), folder / "fifo") == f"{folder}/fifo is not a regular file: copy a file there"


def test_a_read_may_have_a_limit(folder: Path) -> None:
    with pytest.raises(RepositoryError, match="is larger than 0 MiB"):
        sources(folder).read(folder / "model.onnx", 9)
    assert sources(folder).read(folder / "model.onnx", 10) == b"model.onnx"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_change_after_the_first_look_is_noticed(folder: Path, replaced: bool) -> None:
    found = sources(folder)
    found.read(folder / "model.onnx")
    found.digest(folder / "weights.bin")
    if replaced:
        (folder / "other").write_bytes(b"WEIGHTS.BIN")
        (folder / "other").rename(folder / "weights.bin")
    else:
        (folder / "weights.bin").write_bytes(b"WEIGHTS.BIN")
    os.utime(folder / "weights.bin", ns=(1, 1))
    with pytest.raises(RepositoryError) as caught:
        found.check_unchanged()
    assert str(caught.value) == (
        f"{folder}/weights.bin has changed while it was checked: put a version there whole, then load it again"
    )
