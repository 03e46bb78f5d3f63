"""`onnicorn prepare`: the cache is filled, or it is said why not."""

import json
from pathlib import Path

from service.engine.cache import MODEL
from tests import tiny
from tests.transforms import LISTS
from tests.unit import models
from tests.unit.cli.conftest import Onnicorn


def places(tmp_path: Path) -> list[Path]:
    return sorted(file.parent for file in (tmp_path / "cache").glob(f"*/{MODEL}"))


def test_every_model_is_prepared_and_its_place_is_said(onnicorn: Onnicorn, root: Path, tmp_path: Path) -> None:
    tiny.write(tiny.add_sub(), root, "dog", 3)
    result = onnicorn("prepare")
    assert (result.exit_code, result.stderr) == (0, "")
    said = dict(line.split(": ") for line in result.stdout.splitlines())
    assert list(said) == ["cat/1", "dog/3"]
    assert sorted(map(Path, said.values())) == places(tmp_path)


def test_one_model_alone_can_be_prepared(onnicorn: Onnicorn, root: Path, tmp_path: Path) -> None:
    tiny.write(tiny.add_sub(), root, "dog")
    (root / "owl" / "1").mkdir(parents=True)
    result = onnicorn("prepare", "dog")
    [place] = places(tmp_path)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"dog/1: {place}\n", "")


def test_the_places_are_told_to_programs(onnicorn: Onnicorn, tmp_path: Path) -> None:
    result = onnicorn("prepare", "--json")
    [place] = places(tmp_path)
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"prepared": {"cat/1": str(place)}})


def test_what_is_prepared_already_is_said_again(onnicorn: Onnicorn) -> None:
    first, second = onnicorn("prepare"), onnicorn("prepare")
    assert (second.exit_code, second.stdout, second.stderr) == (0, first.stdout, "")


def test_a_model_that_is_not_there_is_one_line(onnicorn: Onnicorn, root: Path) -> None:
    result = onnicorn("prepare", "owl")
    sentence = f"onnicorn: there is no model 'owl' in {root}; it has 'cat'\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", sentence)


def test_there_must_be_something_to_prepare(onnicorn: Onnicorn, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = onnicorn("prepare", REPOSITORY__PATH=tmp_path / "empty")
    assert (result.exit_code, result.stdout) == (1, "")
    logged, last = result.stderr.splitlines()
    assert "repository_empty" in logged
    assert last == f"onnicorn: no model in {tmp_path / 'empty'} can be served; the log above says why"


def test_a_model_that_cannot_be_served_is_an_error(onnicorn: Onnicorn, root: Path) -> None:
    file = root / "dog" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    result = onnicorn("prepare")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"onnicorn: model 'dog': {file} does not exist: copy the model there\n"


def test_a_model_that_can_only_be_served_plainly_is_an_error(onnicorn: Onnicorn, root: Path, tmp_path: Path) -> None:
    tiny.write(models.noisy(), root, "dog")
    tiny.write(models.noisy(), root, "owl")
    result = onnicorn("prepare")
    [place] = places(tmp_path)
    assert (result.exit_code, result.stdout) == (
        1,
        f"cat/1: {place}\ndog/1: not prepared\nowl/1: not prepared\n",
    )
    *logged, last = result.stderr.splitlines()
    assert last == "onnicorn: not prepared: dog, owl; the log above says why"
    assert sum("the model answers the same input differently each time" in line for line in logged) == 2


def test_a_model_for_another_device_is_not_prepared_for_a_reason_that_is_told(onnicorn: Onnicorn) -> None:
    result = onnicorn("prepare", RUNTIME__PROVIDERS="AzureExecutionProvider,CPUExecutionProvider")
    assert (result.exit_code, result.stdout) == (1, "cat/1: not prepared\n")
    logged, last = result.stderr.splitlines()
    assert "it runs on AzureExecutionProvider, CPUExecutionProvider" in logged
    assert last == "onnicorn: not prepared: cat; the log above says why"


def test_a_cache_that_cannot_be_written_is_an_error(onnicorn: Onnicorn, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = onnicorn("prepare", CACHE__DIR=tmp_path / "file" / "cache")
    assert (result.exit_code, result.stdout) == (1, "cat/1: not prepared\n")
    logged, last = result.stderr.splitlines()
    assert f"{tmp_path}/file/cache is not writable: Not a directory" in logged
    assert last == "onnicorn: not prepared: cat; the log above says why"


def test_a_transform_is_tried_and_what_is_wrong_with_it_is_one_line(onnicorn: Onnicorn, root: Path) -> None:
    (root / "cat" / "transform.py").write_text(LISTS)
    golden = root / "cat" / "1" / "golden"
    golden.mkdir()
    (golden / "one.json").write_text('{"instances": [[1, 2, 3, 4]], "predictions": [[2, 4, 6, 9]]}')
    result = onnicorn("prepare")
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        f"onnicorn: model 'cat': model 'cat' version 1: golden sample {golden}/one.json: "
        "predictions[0][3] was recorded as 9, is 8.0 now\n",
    )


def test_a_transform_may_be_forbidden(onnicorn: Onnicorn, root: Path) -> None:
    (root / "cat" / "transform.py").write_text("raise SystemExit('it was run')")
    result = onnicorn("prepare", REPOSITORY__TRANSFORMS="false")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"onnicorn: model 'cat': {root}/cat/transform.py is code, which ONNICORN_REPOSITORY"
    )
