"""Statistics by model and version: what is there, and that it moves as requests come."""

from collections import Counter
from pathlib import Path
from time import time

import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.oip import Json, assert_problem, tensor
from tests.web.conftest import Serve

ROW = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])


def told(client: TestClient, path: str) -> list[Json]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    assert answer.json().keys() == {"model_stats"}
    found: list[Json] = answer.json()["model_stats"]
    return found


def counts(statistics: Json) -> Json:
    return {name: part["count"] for name, part in statistics["inference_stats"].items()}


def test_statistics_are_told_of_one_version_of_all_and_of_all_models(serve: Serve, tmp_path: Path) -> None:
    for version in (1, 2, 5):
        tiny.write(tiny.double(), tmp_path, "double", version)
    tiny.write(tiny.double(), tmp_path, "again", 1)
    (tmp_path / "double" / "model.toml").write_text("versions = [1, 5]")
    with serve(tmp_path) as client:
        found = {
            path: [(each["name"], each["version"]) for each in told(client, f"/v2/models/{path}stats")]
            for path in ("", "double/", "double/versions/1/", "again/")
        }
        assert_problem(client.get("/v2/models/double/versions/2/stats"), 404, "version_not_found")
    assert found == {
        "": [("again", "1"), ("double", "1"), ("double", "5")],
        "double/": [("double", "1"), ("double", "5")],
        "double/versions/1/": [("double", "1")],
        "again/": [("again", "1")],
    }


def test_an_unknown_model_has_none(client: TestClient) -> None:
    assert_problem(client.get("/v2/models/unheard/stats"), 404, "model_not_found", "unheard")


def batches(statistics: Json) -> Counter[int]:
    """The number of runs by their rows."""
    return Counter({each["batch_size"]: each["compute_infer"]["count"] for each in statistics["batch_stats"]})


@pytest.mark.parametrize("inline", ["true", "false"])
def test_requests_move_them(serve: Serve, tmp_path: Path, inline: str) -> None:
    """By what was asked: other tests have asked this process too."""
    repository = tiny.repository(tmp_path, moving=tiny.double())
    (repository / "moving" / "model.toml").write_text(f"inline = {inline}")
    infer, wrong = "/v2/models/moving/infer", {"inputs": [ROW | {"shape": [2, 2]}]}
    three = {"inputs": [tensor("x", "FP32", [3, 4], [1] * 12)]}
    with serve(repository) as client:
        [before] = told(client, "/v2/models/moving/stats")
        statuses = [client.post(infer, json=each).status_code for each in ({"inputs": [ROW]}, three, three, wrong)]
        [after] = told(client, "/v2/models/moving/stats")
    assert statuses == [200, 200, 200, 400]
    moved = {name: counts(after)[name] - counts(before)[name] for name in counts(after)}
    assert moved == {
        "success": 3,
        "fail": 1,
        "queue": 3,
        "compute_input": 3,
        "compute_infer": 3,
        "compute_output": 3,
        "cache_hit": 0,
        "cache_miss": 0,
    }
    assert after["inference_count"] - before["inference_count"] == 7
    assert after["execution_count"] - before["execution_count"] == 3
    for name in ("success", "fail", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][name]["ns"] > before["inference_stats"][name]["ns"]
    assert batches(after) - batches(before) == Counter({3: 2, 1: 1})
    assert abs(after["last_inference"] / 1000 - time()) < 60
