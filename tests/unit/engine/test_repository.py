"""A directory of models: which versions are found, and what is said of the rest."""

import hashlib
import os
import re
from pathlib import Path

import pytest
from structlog.typing import EventDict

from service.engine.declaration import Declaration
from service.engine.places import Root
from service.engine.repository import Candidate, Refusal, scan
from service.errors import RepositoryError


def lay(root: Path, *files: str, **declared: str) -> Path:
    """Empty files below `root`, and a `model.toml` for each folder declared."""
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for folder, text in declared.items():
        (root / folder / "model.toml").write_text(text)
    return root


def found(path: Path, name: str | None = None) -> list[tuple[str, int | None, str]]:
    """Name, version, and a candidate's file below `path` or a refusal's reason, without the path."""
    return [
        (
            each.name,
            each.version,
            str(each.file.relative_to(path)) if isinstance(each, Candidate) else each.reason.replace(str(path), "."),
        )
        for each in scan(path, name)
    ]


def refusal(path: Path, name: str | None = None) -> str:
    with pytest.raises(RepositoryError) as caught:
        scan(path, name)
    return str(caught.value)


def test_the_highest_version_of_each_model_is_wanted(tmp_path: Path) -> None:
    lay(tmp_path, "b/1/model.onnx", "a/2/model.onnx", "a/10/model.onnx")
    a, b = tmp_path / "a/10", tmp_path / "b/1"
    assert scan(tmp_path) == [
        Candidate("a", 10, a / "model.onnx", a / "golden", Declaration(), Root(tmp_path), a.parent),
        Candidate("b", 1, b / "model.onnx", b / "golden", Declaration(), Root(tmp_path), b.parent),
    ]


@pytest.mark.parametrize(
    ("declared", "versions"),
    [
        ("", [10]),
        ("versions = 'latest'", [10]),
        ("versions = 'all'", [1, 2, 10]),
        ("versions = [2, 1]", [1, 2]),
        ("versions = [2, 2]", [2]),
        ("versions = 'all'\ndefault_version = 1", [1, 2, 10]),
        ("default_version = 10", [10]),
    ],
)
def test_a_model_declares_the_versions_that_are_wanted(tmp_path: Path, declared: str, versions: list[int]) -> None:
    lay(tmp_path, *(f"cat/{version}/model.onnx" for version in (1, 2, 10)), cat=declared)
    assert found(tmp_path) == [("cat", version, f"cat/{version}/model.onnx") for version in versions]


@pytest.mark.parametrize(
    ("files", "declared", "version", "reason"),
    [
        (
            ["cat/1/model.onnx"],
            "versions = [1, 3, 2]",
            None,
            "./cat/model.toml asks for versions 2, 3, which are not there: found 1",
        ),
        (
            ["cat/1/model.onnx", "cat/2/model.onnx"],
            "default_version = 1",
            None,
            "./cat/model.toml: default_version 1 is not among the versions that are served: 2",
        ),
        (["cat/1/model.onnx"], "versions = 'newest'", None, None),
        (["cat/1/model.onnx"], "versions = []", None, None),
        (["cat/readme"], "", None, "./cat has no version folder: expected ./cat/1/model.onnx"),
        (
            ["cat/model.onnx"],
            "",
            None,
            "./cat has no version folder: expected ./cat/1/model.onnx; move model.onnx there",
        ),
        (["cat/1/readme"], "", 1, "./cat/1/model.onnx does not exist: copy the model there"),
        (["cat/1/b.onnx", "cat/1/a.onnx"], "", 1, "./cat/1/model.onnx does not exist: rename a.onnx, b.onnx"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, files: list[str], declared: str, version: int | None, reason: str | None
) -> None:
    lay(tmp_path, "dog/1/model.onnx", *files, cat=declared)
    refused, dog = found(tmp_path)
    assert dog == ("dog", 1, "dog/1/model.onnx")
    assert refused[:2] == ("cat", version)
    assert refused[2] == reason if reason else refused[2].startswith("./cat/model.toml: versions")


def test_a_version_that_cannot_be_used_does_not_hide_the_next(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1/readme", "cat/2/model.onnx", cat="versions = 'all'")
    assert found(tmp_path) == [
        ("cat", 1, "./cat/1/model.onnx does not exist: copy the model there"),
        ("cat", 2, "cat/2/model.onnx"),
    ]


@pytest.mark.parametrize("name", ["golden", "v2", "1"])
def test_any_other_name_is_a_models(tmp_path: Path, name: str) -> None:
    lay(tmp_path, f"{name}/1/model.onnx")
    assert found(tmp_path) == [(name, 1, f"{name}/1/model.onnx")]


def unusable(name: str) -> str:
    return (
        f"{name!r} cannot be a model's name: expected letters, digits, '.', '_' and '-', and not 'stats'; "
        "rename the folder or file, or set ONNICORN_REPOSITORY__NAME for a single model"
    )


@pytest.mark.parametrize("name", ["stats", "my model", "_cat", "chat~", "x" * 129, "kätzchen"])
def test_a_name_that_no_path_can_carry_is_refused(tmp_path: Path, name: str) -> None:
    lay(tmp_path, f"{name}/1/model.onnx")
    assert scan(tmp_path) == [Refusal(name, None, unusable(name))]
    assert refusal(tmp_path / name / "1" / "model.onnx", name) == unusable(name)


def test_a_name_that_is_no_utf8_is_refused_in_words_that_are(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    lay(tmp_path, f"{name}/1/model.onnx")
    [refused] = scan(tmp_path)
    assert (refused.name.encode(), refused) == (b"caf\\udce9", Refusal(name, None, unusable(name)))


def test_what_is_no_model_is_passed_over(tmp_path: Path) -> None:
    lay(tmp_path, "..data/1/model.onnx", "lost+found/x", "readme.md", "cat/1/model.onnx")
    assert found(tmp_path) == [("cat", 1, "cat/1/model.onnx")]


def test_what_python_leaves_beside_a_script_is_no_model(tmp_path: Path) -> None:
    lay(tmp_path, "train.py", "__pycache__/train.pyc", "cat/1/model.onnx")
    assert found(tmp_path) == [("cat", 1, "cat/1/model.onnx")]


def test_a_model_at_the_top_is_passed_over_with_a_word(tmp_path: Path, records: list[EventDict]) -> None:
    lay(tmp_path, "cat.onnx")
    assert scan(tmp_path) == []
    assert records == [
        {
            "event": "file_ignored",
            "log_level": "warning",
            "file": f"{tmp_path}/cat.onnx",
            "reason": f"expected {tmp_path}/<name>/<version>/model.onnx",
        }
    ]


@pytest.mark.parametrize("folder", ["v2", "01", "0", "-1", "1.0", "1" * 19])
def test_a_folder_that_is_no_version_is_passed_over_with_a_word(
    tmp_path: Path, records: list[EventDict], folder: str
) -> None:
    lay(tmp_path, "cat/1/model.onnx", f"cat/{folder}/model.onnx", "cat/golden/x", "cat/.git/x", "cat/readme")
    assert found(tmp_path) == [("cat", 1, "cat/1/model.onnx")]
    assert records == [
        {
            "event": "folder_ignored",
            "log_level": "warning",
            "folder": f"{tmp_path}/cat/{folder}",
            "reason": "a version is a positive integer, such as 1",
        }
    ]


def test_tritons_declaration_is_passed_over_with_a_word(tmp_path: Path, records: list[EventDict]) -> None:
    lay(tmp_path, "cat/1/model.onnx", "cat/config.pbtxt")
    assert found(tmp_path) == [("cat", 1, "cat/1/model.onnx")]
    assert records == [
        {
            "event": "file_ignored",
            "log_level": "info",
            "file": f"{tmp_path}/cat/config.pbtxt",
            "reason": "model.toml declares what is needed; `onnicorn check` compares",
        }
    ]


@pytest.mark.parametrize(("name", "called"), [(None, "cat"), ("dog", "dog")])
@pytest.mark.parametrize(
    ("files", "path", "version", "file"),
    [
        pytest.param(["x/cat.onnx"], "x/cat.onnx", 1, ".", id="a file"),
        pytest.param(["x/cat/model.onnx", "x/cat/2/model.onnx"], "x/cat", 1, "model.onnx", id="a flat folder"),
        pytest.param(["x/cat/3/model.onnx"], "x/cat", 3, "3/model.onnx", id="a model's folder"),
    ],
)
def test_a_single_model_is_a_repository(
    tmp_path: Path, name: str | None, called: str, files: list[str], path: str, version: int, file: str
) -> None:
    lay(tmp_path, *files)
    assert found(tmp_path / path, name) == [(called, version, file)]


def test_a_single_file_has_no_samples_beside_it(tmp_path: Path) -> None:
    lay(tmp_path, "cat.onnx", "golden/one.json")
    file = tmp_path / "cat.onnx"
    assert scan(file) == [Candidate("cat", 1, file, None, Declaration(), Root(tmp_path, tmp_path))]


def test_a_flat_folder_may_have_declaration_and_samples(tmp_path: Path) -> None:
    lay(tmp_path, "cat/model.onnx", cat="batch = false")
    folder = tmp_path / "cat"
    declared = Declaration(batch=False)
    assert scan(folder) == [
        Candidate("cat", 1, folder / "model.onnx", folder / "golden", declared, Root(folder), folder)
    ]


def test_a_relative_path_is_a_repository_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, "cat/1/model.onnx")
    monkeypatch.chdir(tmp_path)
    assert scan(Path()) == scan(tmp_path)


def test_a_flat_folder_that_cannot_be_used_is_no_repository(tmp_path: Path) -> None:
    lay(tmp_path, "cat/model.onnx", cat="bacth = 1")
    assert re.match(f"{tmp_path}/cat/model.toml: bacth: ", refusal(tmp_path / "cat"))


def test_a_path_that_leads_nowhere_is_no_repository(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == (
        f"the model repository {tmp_path}/none does not exist: set ONNICORN_REPOSITORY__PATH to a directory of models, "
        "a directory with a model.onnx, or one .onnx file"
    )


def test_an_empty_directory_is_an_empty_repository(tmp_path: Path) -> None:
    assert scan(tmp_path) == []


def test_a_model_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat" / "1").mkdir(parents=True)
    os.mkfifo(tmp_path / "cat" / "1" / "model.onnx")
    [refusal] = scan(tmp_path)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == f"{tmp_path}/cat/1/model.onnx is not a regular file: copy the model there"


def outside(tmp_path: Path) -> tuple[Path, Path]:
    """A repository with a good model, and a place beside it with another one."""
    lay(tmp_path, "models/dog/1/model.onnx", "secret/1/model.onnx", "secret/model.toml")
    return tmp_path / "models", tmp_path / "secret"


@pytest.mark.parametrize(
    ("link", "target", "version"),
    [
        ("cat", "secret", None),
        ("cat/1", "secret/1", 1),
        ("cat/1/model.onnx", "secret/1/model.onnx", 1),
        ("cat/model.toml", "secret/model.toml", None),
    ],
)
def test_what_lies_outside_of_the_repository_is_refused(
    tmp_path: Path, link: str, target: str, version: int | None
) -> None:
    root, _ = outside(tmp_path)
    if link == "cat/model.toml":
        lay(root, "cat/1/model.onnx")
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(tmp_path / target)
    reason = f"./{link} leads out of the repository ., to {tmp_path}/{target}: copy it to where the link is"
    assert found(root) == [("cat", version, reason), ("dog", 1, "dog/1/model.onnx")]


def test_a_volume_of_kubernetes_is_a_repository(tmp_path: Path) -> None:
    """What is mounted are links to `..data`, which is one itself."""
    lay(tmp_path, "..2026_11/cat/1/model.onnx")
    (tmp_path / "..data").symlink_to("..2026_11")
    (tmp_path / "cat").symlink_to("..data/cat")
    assert found(tmp_path) == [("cat", 1, "cat/1/model.onnx")]


def test_a_flat_volume_of_kubernetes_is_a_repository(tmp_path: Path) -> None:
    lay(tmp_path, "..2026_11/model.onnx", "..2026_11/model.toml")
    (tmp_path / "..data").symlink_to("..2026_11")
    for name in ("model.onnx", "model.toml"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert found(tmp_path, "cat") == [("cat", 1, "model.onnx")]
    assert found(tmp_path / "model.onnx", "cat") == [("cat", 1, ".")]


def test_a_flat_folder_with_a_model_elsewhere_is_no_repository(tmp_path: Path) -> None:
    _, secret = outside(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "model.onnx").symlink_to(secret / "1" / "model.onnx")
    assert "cat/model.onnx leads out of the repository" in refusal(tmp_path / "cat")


@pytest.mark.parametrize("name", ["model.onnx", "model.toml"])
def test_a_pipe_does_not_hold_up_a_flat_folder(tmp_path: Path, name: str) -> None:
    lay(tmp_path, *{"model.onnx"} - {name})
    os.mkfifo(tmp_path / name)
    assert refusal(tmp_path, "cat").startswith(f"{tmp_path}/{name} is not a regular file: copy ")


def test_a_declaration_must_be_as_its_folder_lists_it(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1/model.onnx", cat="batch = false")
    digest = hashlib.sha256(b"batch = false").hexdigest()
    (tmp_path / "cat" / "SHA256SUMS").write_text(f"{digest}  model.toml\n")
    assert found(tmp_path) == [("cat", 1, "cat/1/model.onnx")]
    (tmp_path / "cat" / "model.toml").write_text("batch = [")
    assert found(tmp_path)[0][2].startswith("./cat/model.toml has SHA-256 ")
    (tmp_path / "cat" / "model.toml").unlink()
    assert found(tmp_path) == [("cat", None, "./cat/model.toml cannot be read: No such file or directory")]


def test_a_name_of_several_lines_is_refused_in_one(tmp_path: Path) -> None:
    lay(tmp_path, "a\nb\x1b[2J/1/model.onnx")
    [refused] = scan(tmp_path)
    assert (refused.name, refused) == ("a\\nb\\x1b[2J", Refusal("a\nb\x1b[2J", None, unusable("a\nb\x1b[2J")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1/model.onnx", "dog/1/model.onnx")
    (tmp_path / "cat").chmod(0)
    assert found(tmp_path)[0] == ("cat", None, "./cat cannot be read: Permission denied")
