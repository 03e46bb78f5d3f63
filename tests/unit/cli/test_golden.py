"""`onnicorn golden`: what a model answers is recorded, and replayed before anybody hears that it was."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from tests import tiny
from tests.transforms import LISTS
from tests.unit import models
from tests.unit.cli.conftest import Onnicorn

X = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
Y = {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2.0, 4.0, 6.0, 8.0]}
FLOATS = X | {"data": [1.0, 2.0, 3.0, 4.0]}
Ask = Callable[..., Result]


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "cat" / "1" / "golden"


@pytest.fixture
def ask(onnicorn: Onnicorn, tmp_path: Path) -> Ask:
    """`ask({"inputs": [...]}, "--name", "one")`: the command with a request in a file."""

    def run(document: Any, *arguments: str) -> Result:
        file = tmp_path / "request.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        return onnicorn("golden", "cat", "--input", str(file), *arguments)

    return run


def test_a_request_is_recorded_with_its_answer(ask: Ask, folder: Path) -> None:
    result = ask({"inputs": [X]})
    file = folder / "request.json"
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{file}: recorded and replayed\n", "")
    assert json.loads(file.read_text()) == {"inputs": [FLOATS], "outputs": [Y]}
    assert list(folder.iterdir()) == [file]


def test_it_may_come_from_standard_input(root: Path, folder: Path, tmp_path: Path) -> None:
    environment = {"ONNICORN_REPOSITORY__PATH": str(root), "ONNICORN_CACHE__DIR": str(tmp_path / "cache")}
    body = json.dumps({"inputs": [X]})
    assert CliRunner().invoke(main, ["golden", "cat", "--input", "-"], input=body, env=environment).exit_code == 0
    assert json.loads((folder / "stdin.json").read_text())["outputs"] == [Y]


def test_the_tolerance_and_the_name_are_as_asked(ask: Ask, folder: Path) -> None:
    assert ask({"inputs": [X]}, "--name", "one", "--tolerance", "0.01").exit_code == 0
    assert json.loads((folder / "one.json").read_text())["tolerance"] == 0.01


def test_only_the_outputs_that_are_asked_for_are_recorded(onnicorn: Onnicorn, root: Path, tmp_path: Path) -> None:
    tiny.write(tiny.add_sub(), root, "dog")
    inputs = [{"name": name, "datatype": "INT32", "shape": [1, 16], "data": [1] * 16} for name in "ab"]
    (tmp_path / "r.json").write_text(json.dumps({"inputs": inputs, "outputs": [{"name": "difference"}]}))
    assert onnicorn("golden", "dog", "--input", str(tmp_path / "r.json")).exit_code == 0
    document = json.loads((root / "dog" / "1" / "golden" / "r.json").read_text())
    assert [each["name"] for each in document["outputs"]] == ["difference"]


def test_a_transform_is_recorded_in_its_own_terms(ask: Ask, root: Path, folder: Path) -> None:
    (root / "cat" / "transform.py").write_text(LISTS)
    assert ask({"instances": [[1, 2, 3, 4]]}).exit_code == 0
    assert json.loads((folder / "request.json").read_text()) == {
        "instances": [[1, 2, 3, 4]],
        "predictions": [[2.0, 4.0, 6.0, 8.0]],
    }


def test_samples_are_made_up_where_none_is_given(onnicorn: Onnicorn, folder: Path) -> None:
    result = onnicorn("golden", "cat/1", "--count", "2", "--seed", "7")
    files = [folder / "random-1.json", folder / "random-2.json"]
    assert result.stdout == "".join(f"{file}: recorded and replayed\n" for file in files)
    first, second = (json.loads(file.read_text())["inputs"][0]["data"] for file in files)
    assert len(set(first)) == 4
    assert first != second
    assert onnicorn("golden", "cat", "--seed", "7", "--name", "again").exit_code == 0
    assert json.loads((folder / "again.json").read_text())["inputs"][0]["data"] == first


@pytest.mark.parametrize("datatype", tiny.DATATYPES)
def test_samples_of_every_datatype_can_be_made_up(onnicorn: Onnicorn, root: Path, datatype: str) -> None:
    tiny.write(tiny.identity(datatype), root, "dog")
    assert onnicorn("golden", "dog", "--count", "3").exit_code == 0
    document = json.loads((root / "dog" / "1" / "golden" / "random-3.json").read_text())
    assert document["inputs"][0]["datatype"] == document["outputs"][0]["datatype"] == datatype


def test_a_sample_is_not_written_over_by_mistake(ask: Ask, folder: Path) -> None:
    ask({"inputs": [X]})
    before = (folder / "request.json").read_text()
    other = {"inputs": [X | {"data": [0, 0, 0, 0]}]}
    result = ask(other)
    assert (result.exit_code, (folder / "request.json").read_text()) == (1, before)
    sentence = f"onnicorn: {folder}/request.json: there already; choose another --name, or --force\n"
    assert result.stderr == sentence
    assert ask(other, "--force").exit_code == 0
    assert json.loads((folder / "request.json").read_text())["outputs"][0]["data"] == [0.0] * 4


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("{", "the request: "),
        ({"inputs": [X | {"data": [1]}]}, "the request: input 'x': FP32[1,4] has 4 elements, 'data' has 1"),
        ({"inputs": [X | {"name": "z"}]}, "the request: inputs: expected 'x', got 'z'"),
        (
            {"instances": [[1]]},
            "the request: it has instances, and the model has no transform to take them: give it inputs",
        ),
    ],
)
def test_what_the_model_does_not_take_is_one_line(ask: Ask, folder: Path, document: Any, sentence: str) -> None:
    result = ask(document)
    assert (result.exit_code, result.stdout, folder.exists()) == (1, "", False)
    assert result.stderr.startswith(f"onnicorn: {sentence}")
    assert result.stderr.count("\n") == 1


def test_what_a_transform_does_not_take_is_one_line(ask: Ask, root: Path) -> None:
    (root / "cat" / "transform.py").write_text(LISTS)
    for instances, sentence in ((5, "expected an array of instances"), (["a"], "instances[0]: ")):
        result = ask({"instances": instances})
        assert result.exit_code == 1
        warning, last = result.stderr.splitlines()
        assert "transform_not_tried" in warning
        assert last.startswith(f"onnicorn: the request: {sentence}")


def test_why_a_model_fails_is_said(onnicorn: Onnicorn, root: Path, tmp_path: Path) -> None:
    tiny.write(tiny.failing(), root, "dog")
    tensor = {"name": "index", "datatype": "INT64", "shape": [1], "data": [9]}
    (tmp_path / "r.json").write_text(json.dumps({"inputs": [tensor]}))
    result = onnicorn("golden", "dog", "--input", str(tmp_path / "r.json"))
    assert result.exit_code == 1
    assert "idx=9" in result.stderr


def test_a_model_that_runs_on_nothing_made_up_needs_a_request(onnicorn: Onnicorn, root: Path) -> None:
    tiny.write(tiny.sevens(), root, "dog")
    result = onnicorn("golden", "dog")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "onnicorn: the model does not run on made-up inputs: give it a request with --input"
    )


def test_an_answer_that_a_sample_cannot_hold_is_named(ask: Ask, folder: Path) -> None:
    result = ask({"inputs": [X | {"data": [3e38] * 4}]})
    assert (result.exit_code, folder.exists()) == (1, False)
    assert result.stderr == "onnicorn: the request: output 'y' has NaN or infinity, for which JSON has no number\n"


def test_a_sample_that_does_not_come_out_again_is_not_kept(onnicorn: Onnicorn, root: Path) -> None:
    tiny.write(models.noisy(), root, "dog")
    result = onnicorn("golden", "dog")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "golden sample" in result.stderr.splitlines()[-1]
    assert list((root / "dog" / "1" / "golden").iterdir()) == []


def test_a_sample_that_failed_in_place_of_another_leaves_that_one(ask: Ask, root: Path, folder: Path) -> None:
    ask({"inputs": [X]})
    before = (folder / "request.json").read_bytes()
    files = [root / "cat" / "1" / "model.onnx", folder / "request.json"]
    sums = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(root / 'cat' / '1')}" for file in files
    ]
    (root / "cat" / "1" / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    result = ask({"inputs": [X | {"data": [0, 0, 0, 0]}]}, "--force")
    assert (result.exit_code, (folder / "request.json").read_bytes()) == (1, before)
    assert "SHA256SUMS" in result.stderr


def test_a_repository_of_one_file_has_no_place_for_samples(onnicorn: Onnicorn, root: Path) -> None:
    file = root / "cat" / "1" / "model.onnx"
    result = onnicorn("golden", "model", "--repository", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"onnicorn: {file} is a repository by itself: move it to model/1/model.onnx in one\n"


def test_a_folder_that_takes_no_file_is_one_line(ask: Ask, folder: Path) -> None:
    folder.write_text("in the way")
    result = ask({"inputs": [X]})
    assert result.exit_code == 1
    assert result.stderr.startswith(f"onnicorn: {folder}/request.json cannot be written: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "../x"],
        ["--name", ".x"],
        ["--tolerance", "inf"],
        ["--count", "0"],
        ["--input", "/dev/null", "--count", "2"],
    ],
)
def test_what_makes_no_sense_is_said_with_exit_code_2(onnicorn: Onnicorn, arguments: list[str]) -> None:
    assert onnicorn("golden", "cat", *arguments).exit_code == 2
