"""`SHA256SUMS`: what sha256sum writes is understood, and nothing else is."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from service.engine.checksums import Checksums, checksums_over, parse
from service.engine.places import Root
from service.errors import RepositoryError

ONE, TWO = "1" * 64, "2" * 64
LINE = "expected 64 hexadecimal digits, two spaces and a file's name, as sha256sum writes it"


def sums(folder: Path, content: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "SHA256SUMS"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(RepositoryError) as caught:
        Checksums.read(sums(folder, content))
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (f"{ONE}  model.onnx\n", "model.onnx"),
        (f"{ONE} *model.onnx\n", "model.onnx"),
        (f"{ONE}  ./model.onnx\n", "model.onnx"),
        (f"{ONE}  model.onnx", "model.onnx"),
        (f"{ONE}  golden/a b.json\n", "golden/a b.json"),
        (f"{ONE}   leading\n", " leading"),
        (f"{ONE}  a\\b\n", "a\\b"),
        (f"\\{ONE}  a\\nb\\\\n\\rc\n", "a\nb\\n\rc"),
        (f"{ONE}  ".encode() + b"caf\xe9\n", "caf\udce9"),
    ],
)
def test_a_line_is_a_digest_and_a_name(tmp_path: Path, content: str | bytes, name: str) -> None:
    assert Checksums.read(sums(tmp_path, content)).digests == {tmp_path / name: ONE}


def test_where_it_lies_is_said_as_it_is_shown() -> None:
    with pytest.raises(RepositoryError, match=r"https://host/cat/SHA256SUMS: line 1 names '../x': expected a file in "):
        parse(f"{ONE}  ../x\n".encode(), "https://host/cat/SHA256SUMS")


def test_digests_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert Checksums.read(sums(tmp_path, f"{'AB' * 32}  x\n")).digests == {tmp_path / "x": "ab" * 32}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# a comment",
        ONE,
        f"{ONE}  ",
        f"{ONE} model.onnx",
        f"{ONE[1:]}  model.onnx",
        f"{ONE}1  model.onnx",
        f"{'g' * 64}  model.onnx",
        f" {ONE}  model.onnx",
        f"{ONE}  model.onnx\r",
        f"\\{ONE}  a\\tb",
        f"\\{ONE}  a\\",
        f"SHA256 (model.onnx) = {ONE}",
        "\x1b[2J",
    ],
)
def test_any_other_line_is_refused(tmp_path: Path, line: str) -> None:
    assert refusal(tmp_path, f"{TWO}  a\n{line}\n{TWO}  b\n") == (
        f"{tmp_path}/SHA256SUMS: line 2 is {line[:100]!r}: {LINE}"
    )


def test_a_file_without_lines_vouches_for_nothing(tmp_path: Path) -> None:
    assert refusal(tmp_path, "") == f"{tmp_path}/SHA256SUMS: line 1 is '': {LINE}"


@pytest.mark.parametrize("name", ["/etc/passwd", "../model.onnx", "golden/../../x", ".."])
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, f"{ONE}  {name}\n") == (
        f"{tmp_path}/SHA256SUMS: line 1 names {name!r}: expected a file in {tmp_path} or below"
    )


def test_a_file_is_listed_once_or_twice_alike(tmp_path: Path) -> None:
    assert Checksums.read(sums(tmp_path, f"{ONE}  x\n{ONE} *./x\n")).digests == {tmp_path / "x": ONE}
    assert refusal(tmp_path, f"{ONE}  x\n{TWO}  x\n") == (
        f"{tmp_path}/SHA256SUMS: line 2 gives 'x' another digest than a line before it"
    )


def test_a_list_says_nothing_of_itself(tmp_path: Path) -> None:
    """Whoever writes `sha256sum $(find) > SHA256SUMS` has a line for the list as it was before it was written."""
    file = sums(tmp_path, f"{ONE}  ./SHA256SUMS\n{TWO}  x\n{ONE}  golden/SHA256SUMS\n")
    assert Checksums.read(file).digests == {tmp_path / "x": TWO, tmp_path / "golden" / "SHA256SUMS": ONE}


def test_a_file_must_be_as_it_is_listed(tmp_path: Path) -> None:
    checksums = Checksums.read(sums(tmp_path, f"{ONE}  model.onnx\n{ONE}  model.data\n"))
    checksums.check(tmp_path / "model.onnx", ONE)
    with pytest.raises(RepositoryError) as caught:
        checksums.check(tmp_path / "model.onnx", TWO)
    assert str(caught.value) == (
        f"{tmp_path}/model.onnx has SHA-256 222222222222..., {tmp_path}/SHA256SUMS says 111111111111...: copy the file "
        "again, or, if you have changed it yourself, "
        f"run `sha256sum model.data model.onnx > SHA256SUMS` in {tmp_path}"
    )


def test_a_file_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    checksums = Checksums.read(sums(tmp_path, f"{ONE}  model.onnx\n"))
    with pytest.raises(RepositoryError) as caught:
        checksums.check(tmp_path / "model.data", ONE)
    assert str(caught.value) == (
        f"{tmp_path}/model.data is not listed in {tmp_path}/SHA256SUMS: "
        f"run `sha256sum model.data model.onnx > SHA256SUMS` in {tmp_path}"
    )


def test_a_long_list_is_not_repeated(tmp_path: Path) -> None:
    checksums = Checksums.read(sums(tmp_path, "".join(f"{ONE}  {number}\n" for number in range(4))))
    with pytest.raises(RepositoryError, match=r"run `sha256sum \.\.\. > SHA256SUMS` in "):
        checksums.check(tmp_path / "x", ONE)


def test_what_lies_in_a_folder_is_found(tmp_path: Path) -> None:
    checksums = Checksums.read(sums(tmp_path, f"{ONE}  1/a\n{ONE}  1/golden/b\n{ONE}  10/c\n{ONE}  d\n"))
    assert list(checksums.below(tmp_path / "1")) == [tmp_path / "1/a", tmp_path / "1/golden/b"]
    assert list(checksums.below(tmp_path / "d")) == [tmp_path / "d"]


def test_those_of_every_folder_up_to_the_root_count(tmp_path: Path) -> None:
    root, version = tmp_path / "models", tmp_path / "models" / "cat" / "1"
    version.mkdir(parents=True)
    assert checksums_over(version, Root(root)) == ()
    files = [sums(folder, f"{ONE}  x\n") for folder in (version, root, tmp_path)]
    assert [each.file for each in checksums_over(version, Root(root))] == files[:2]


@pytest.mark.parametrize("target", ["none", "/etc/hostname"])
def test_a_link_in_its_place_that_leads_nowhere_or_out_is_no_excuse(tmp_path: Path, target: str) -> None:
    (tmp_path / "SHA256SUMS").symlink_to(target)
    with pytest.raises(RepositoryError, match=r"SHA256SUMS (cannot be read|leads out of the repository)"):
        checksums_over(tmp_path, Root(tmp_path))


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_what_sha256sum_writes_is_read(tmp_path: Path) -> None:
    names = ["plain", "two words", "back\\slash", "two\nlines", "*star", "zwölf"]
    for name in names:
        (tmp_path / name).write_text(name)
    for option in ("--text", "--binary"):
        done = subprocess.run(["sha256sum", option, *names], cwd=tmp_path, check=True, capture_output=True)
        assert Checksums.read(sums(tmp_path, done.stdout)).digests == {
            tmp_path / name: hashlib.sha256(name.encode()).hexdigest() for name in names
        }
