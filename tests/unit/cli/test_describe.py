"""`onnicorn describe`: what a model is, how it would be served here, and a command that calls it."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from service.engine.cache import MODEL
from tests import tiny
from tests.transforms import LISTS
from tests.unit import models
from tests.unit.cli.conftest import Onnicorn

GOLDEN = '{"instances": [[1, 2, 3, 4]], "predictions": [[2, 4, 6, 8]]}'


def described(onnicorn: Onnicorn, *arguments: str, **variables: object) -> dict[str, Any]:
    result = onnicorn("describe", "--json", *arguments, **variables)
    assert (result.exit_code, result.stderr) == (0, "")
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def command(onnicorn: Onnicorn, *arguments: str, **variables: object) -> list[str]:
    return shlex.split(described(onnicorn, *arguments, **variables)["command"])


def test_a_model_is_described_whole(onnicorn: Onnicorn, root: Path, tmp_path: Path) -> None:
    document = described(onnicorn, "cat")
    batching = document.pop("batching")
    file = root / "cat" / "1" / "model.onnx"
    [prepared] = (tmp_path / "cache").glob(f"*/{MODEL}")
    assert document == {
        "name": "cat",
        "version": 1,
        "versions": [1],
        "default_version": 1,
        "file": str(file),
        "digest": document["digest"],
        "verified": False,
        "file_bytes": file.stat().st_size,
        "memory_bytes": {"shared": sum(each.stat().st_size for each in prepared.parent.iterdir()), "each_worker": 0},
        "ir_version": document["ir_version"],
        "producer": "",
        "opsets": {"ai.onnx": 17, "ai.onnx.ml": 3},
        "operators": {"Add": 1},
        "parameters": 0,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4], "dimensions": ["batch", ""], "labels": []}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4], "dimensions": ["batch", ""], "labels": []}],
        "free": {"batch": "the batch axis: as many rows as a request brings"},
        "providers": ["CPUExecutionProvider"],
        "prepared": str(prepared.parent),
        "transform": None,
        "golden": 0,
        "command": "curl -sS http://127.0.0.1:8000/v2/models/cat/infer -d "
        """'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,1,1,1]}]}'""",
    }
    assert (batching["rows_of_one_request"], batching["run_threads"], batching["pads"]) == (None, 1, False)


def test_people_read_the_same_in_lines(onnicorn: Onnicorn, root: Path) -> None:
    (root / "cat" / "model.toml").write_text('labels.y = ["a", "b", "c", "d"]')
    result = onnicorn("describe", "cat")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    facts = [(line[:10].strip(), line[12:]) for line in lines[:-3]]
    assert [name for name, _ in facts] == [
        *("model", "file", "digest", "made by", "parameters", "operators", "input", "output", "-1"),
        *("runs on", "prepared", "memory", "batching", "limits", "transform", "golden"),
    ]
    assert ("model", "cat/1, served by default") in facts
    assert ("operators", "1 Add") in facts
    assert ("input", "x: FP32[-1,4] (batch)") in facts
    assert ("output", "y: FP32[-1,4] (batch), 4 labels") in facts
    assert ("-1", "'batch' is the batch axis: as many rows as a request brings") in facts
    assert lines[-3:-1] == ["", "Call it:"]
    assert lines[-1].startswith("curl -sS ")


def test_a_version_may_be_chosen(onnicorn: Onnicorn, root: Path) -> None:
    tiny.write(tiny.times(3), root, "cat", 2)
    (root / "cat" / "model.toml").write_text('versions = "all"\ndefault_version = 1')
    assert [described(onnicorn, name)["version"] for name in ("cat", "cat/1", "cat/2")] == [1, 1, 2]
    assert command(onnicorn, "cat/2")[2].endswith("/v2/models/cat/versions/2/infer")
    assert "versions    1 besides" in onnicorn("describe", "cat/2").stdout


def test_a_model_with_a_transform_is_called_in_its_terms(onnicorn: Onnicorn, root: Path) -> None:
    (root / "cat" / "transform.py").write_text(LISTS)
    (root / "cat" / "1" / "golden").mkdir()
    (root / "cat" / "1" / "golden" / "one.json").write_text(GOLDEN)
    document = described(onnicorn, "cat")
    assert (document["transform"], document["golden"]) == ("transform.py", 1)
    assert shlex.split(document["command"])[2:] == [
        "http://127.0.0.1:8000/v1/models/cat:predict",
        "-d",
        '{"instances":[[1,2,3,4]]}',
    ]


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("0.0.0.0:9000", ["http://127.0.0.1:9000/v2/models/cat/infer"]),
        ("[::]:9000", ["http://[::1]:9000/v2/models/cat/infer"]),
        ("unix:/run/cat.sock", ["--unix-socket", "/run/cat.sock", "http://localhost/v2/models/cat/infer"]),
    ],
)
def test_the_command_goes_where_the_service_listens(onnicorn: Onnicorn, bind: str, expected: list[str]) -> None:
    assert command(onnicorn, "cat", HTTP__BIND=bind)[2:-2] == expected


def test_the_command_says_where_a_key_and_tls_belong(
    onnicorn: Onnicorn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--certfile cert.pem")
    assert command(onnicorn, "cat", ACCESS__KEYS=tmp_path / "keys.toml")[2:5] == [
        "-H",
        "Authorization: Bearer KEY",
        "https://127.0.0.1:8000/v2/models/cat/infer",
    ]


def test_a_long_request_goes_by_a_file(
    onnicorn: Onnicorn, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write(tiny.identity("FP32"), root, "dog")
    (root / "dog" / "model.toml").write_text("warm_up = [{ x = { shape = [1, 5000] } }]")
    words = command(onnicorn, "dog", "--repository", str(root), REPOSITORY__PATH="/nowhere")
    place = words.index("&&")
    assert words[:place] == ["onnicorn", "describe", "dog/1", "--request", "dog.json", "--repository", str(root)]
    assert words[place + 1 :] == [
        *("curl", "-sS", "http://127.0.0.1:8000/v2/models/dog/infer", "--data-binary", "@dog.json"),
    ]
    monkeypatch.chdir(tmp_path)
    result = onnicorn(*words[1:place])
    assert (result.exit_code, result.output) == (0, "")
    [tensor] = json.loads((tmp_path / "dog.json").read_text())["inputs"]
    assert (tensor["shape"], tensor["data"]) == ([1, 5000], [1.0] * 5000)


def test_a_request_may_be_written_to_standard_output(onnicorn: Onnicorn) -> None:
    result = onnicorn("describe", "cat", "--request", "-")
    assert json.loads(result.stdout)["inputs"][0]["data"] == [1, 1, 1, 1]


def test_what_runs_on_nothing_made_up_has_no_example(onnicorn: Onnicorn, root: Path) -> None:
    tiny.write(tiny.sevens(), root, "dog")
    result = onnicorn("describe", "dog")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("No example: it does not run on made-up inputs: ")
    assert json.loads(onnicorn("describe", "dog", "--json").stdout)["command"] is None
    refused = onnicorn("describe", "dog", "--request", "-")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[-1].startswith("onnicorn: it does not run on made-up inputs: ")


def test_free_dimensions_are_explained(onnicorn: Onnicorn, root: Path) -> None:
    tiny.write(tiny.identity("FP32"), root, "dog")
    assert described(onnicorn, "dog")["free"] == {
        "batch": "the batch axis: as many rows as a request brings",
        "n": "any size, the same wherever the name stands",
    }


def test_what_is_loaded_plainly_weighs_on_each_worker(onnicorn: Onnicorn, root: Path) -> None:
    file = tiny.write(models.noisy(), root, "dog")
    result = onnicorn("describe", "dog", "--json")
    document = json.loads(result.stdout)
    assert (document["prepared"], document["memory_bytes"]) == (None, {"shared": 0, "each_worker": file.stat().st_size})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("owl", "onnicorn: there is no model 'owl' in {root}; it has 'cat'\n"),
        (
            "cat/2",
            "onnicorn: version '2' of model 'cat' is not served; those that are: 1 (versions in model.toml chooses)\n",
        ),
    ],
)
def test_a_model_that_is_not_there_is_one_line(onnicorn: Onnicorn, root: Path, name: str, sentence: str) -> None:
    result = onnicorn("describe", name)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", sentence.format(root=root))
