"""A generation, written and read, and whether its files are what they were."""

import hashlib
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.engine.declaration import Declaration, Limits
from service.engine.graph import Facts
from service.engine.manifest import Entry, Findings, Manifest, digest
from service.engine.repository import Refusal
from service.errors import RepositoryError


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(directory: Path, *contents: bytes) -> tuple[Path, ...]:
    """A file for each content."""
    made = tuple(directory / str(index) for index in range(len(contents)))
    for file, content in zip(made, contents, strict=True):
        file.write_bytes(content)
    return made


def entry(*of: Path) -> Entry:
    return Entry(
        name="cat",
        version=3,
        file=of[0],
        golden=of[0].parent / "golden",
        facts=Facts(of[1:], frozenset({"x"}), {"z": ("c", "d")}, frozenset({"Add", "Sub"})),
        digest=digest(of),
        verified=True,
        operator_digests=("d1", "d2"),
        declaration=Declaration(versions=(3,), limits=Limits(max_rows=2), labels={"y": ("a", "b")}),
        prepared=of[0].parent / "prepared" / "model.onnx",
        findings=Findings(together=True, batch_rows=16, inline_rows=2, pads=True),
    )


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = Manifest(
        generation=4,
        entries=(entry(*files(tmp_path, b"model", b"weights")),),
        refusals=(Refusal("dog", None, "no"), Refusal("fox", 2, "neither")),
        intra_op_threads=3,
    )
    manifest.write(tmp_path / "generation-4.json")
    assert Manifest.read(tmp_path / "generation-4.json") == manifest


def test_a_manifest_replaces_another_and_leaves_no_draft(tmp_path: Path) -> None:
    for generation in (1, 2):
        Manifest(generation=generation, entries=()).write(tmp_path / "now.json")
    assert Manifest.read(tmp_path / "now.json") == Manifest(generation=2, entries=())
    assert [file.name for file in tmp_path.iterdir()] == ["now.json"]


def test_a_manifest_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Manifest(generation=1, entries=()).generation = 2  # type: ignore[misc]


def test_libraries_of_custom_operators_are_named_where_there_are_some(tmp_path: Path) -> None:
    cat = entry(*files(tmp_path, b"model"))
    assert cat.digests == {"digest": sha256(b"model"), "verified": True, "operator_digests": ("d1", "d2")}
    assert cat.model_copy(update={"operator_digests": ()}).digests == {"digest": sha256(b"model"), "verified": True}


def test_the_digest_of_one_file_is_what_sha256sum_prints(tmp_path: Path) -> None:
    assert digest(files(tmp_path, b"model")) == sha256(b"model")


def test_the_digest_of_several_files_is_that_of_their_digests(tmp_path: Path) -> None:
    both = files(tmp_path, b"model", b"weights")
    assert digest(both) == sha256((sha256(b"model") + sha256(b"weights")).encode())
    assert digest(both) != digest((both[1], both[0]))


@pytest.mark.parametrize("changed", [0, 1])
def test_a_change_of_any_file_is_noticed(tmp_path: Path, changed: int) -> None:
    both = files(tmp_path, b"model", b"weights")
    checked = entry(*both)
    assert checked.is_unchanged()
    both[changed].write_bytes(b"other")
    assert not checked.is_unchanged()


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    both = files(tmp_path, b"model", b"weights")
    checked = entry(*both)
    both[1].unlink()
    with pytest.raises(RepositoryError) as caught:
        checked.is_unchanged()
    assert str(caught.value) == f"{both[1]} cannot be read: No such file or directory"


def test_a_name_that_is_no_utf8_can_be_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    manifest = Manifest(generation=1, entries=(), refusals=(Refusal(name, None, f"no {name}"),))
    manifest.write(tmp_path / "now.json")
    assert Manifest.read(tmp_path / "now.json").refusals == (Refusal("caf\\udce9", None, "no caf\\udce9"),)
