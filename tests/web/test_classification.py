"""Classes in place of numbers: asked for by output, in JSON and as bytes, with the labels of `model.toml`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.oip import Json, assert_problem, length_prefixed, split, tensor
from tests.web.conftest import Serve


@pytest.fixture
def cats(serve: Serve, tmp_path: Path) -> Iterator[TestClient]:
    """Answers what it is asked, by the names of cats."""
    repository = tiny.repository(tmp_path, cats=tiny.identity("FP32"), texts=tiny.identity("BYTES"))
    (repository / "cats" / "model.toml").write_text('labels = { y = ["lion", "lynx", "ounce"] }')
    with serve(repository) as client:
        yield client


X = tensor("x", "FP32", [2, 3], [0.25, 0.5, 0.125, 3, 1, 2])


def wanted(**parameters: Any) -> list[Json]:
    return [{"name": "y", "parameters": parameters}]


def test_classes_come_as_text_with_their_labels(cats: TestClient) -> None:
    answer = cats.post("/v2/models/cats/infer", json={"inputs": [X], "outputs": wanted(classification=2), "id": "7"})
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "model_name": "cats",
            "model_version": "1",
            "id": "7",
            "outputs": [
                {
                    "name": "y",
                    "datatype": "BYTES",
                    "shape": [2, 2],
                    "data": ["0.5:1:lynx", "0.25:0:lion", "3.0:0:lion", "2.0:2:ounce"],
                }
            ],
        },
    )


@pytest.mark.parametrize("default", [True, False], ids=["of the request", "of the output"])
def test_classes_come_as_bytes(cats: TestClient, default: bool) -> None:
    document: Json = {"inputs": [X], "outputs": wanted(classification=1)}
    if default:
        document["parameters"] = {"binary_data_output": True}
    else:
        document["outputs"][0]["parameters"]["binary_data"] = True
    answered, blobs = split(cats.post("/v2/models/cats/infer", json=document))
    blob = length_prefixed(b"0.5:1:lynx", b"3.0:0:lion")
    assert answered["outputs"] == [
        {"name": "y", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": len(blob)}}
    ]
    assert blobs == [blob]


@pytest.mark.parametrize("parameters", [{"classification": 0}, {"classification": None}, {}], ids=str)
def test_numbers_come_where_no_classes_are_asked_for(cats: TestClient, parameters: Json) -> None:
    answer = cats.post("/v2/models/cats/infer", json={"inputs": [X], "outputs": wanted(**parameters)})
    assert answer.json()["outputs"] == [tensor("y", "FP32", [2, 3], X["data"])]


def test_more_classes_than_there_are_is_all_of_them(cats: TestClient) -> None:
    answer = cats.post("/v2/models/cats/infer", json={"inputs": [X], "outputs": wanted(classification=1000)})
    assert answer.json()["outputs"][0]["shape"] == [2, 3]


def test_classes_of_a_long_row_are_found_beside_the_event_loop(client: TestClient) -> None:
    x = tensor("x", "FP32", [1, 50_000], list(range(50_000)))
    answer = client.post("/v2/models/identity_fp32/infer", json={"inputs": [x], "outputs": wanted(classification=2)})
    assert answer.json()["outputs"][0]["data"] == ["49999.0:49999", "49998.0:49998"]


@pytest.mark.parametrize("number", [-1, 1.5, "2", True, [1]], ids=repr)
def test_a_number_of_classes_is_a_count(cats: TestClient, number: Any) -> None:
    answer = cats.post("/v2/models/cats/infer", json={"inputs": [X], "outputs": wanted(classification=number)})
    assert_problem(answer, 400, "malformed_request", "output 'y': 'parameters.classification': expected an integer")


def test_texts_have_no_classes(cats: TestClient) -> None:
    x = tensor("x", "BYTES", [1, 1], ["a"])
    answer = cats.post("/v2/models/texts/infer", json={"inputs": [x], "outputs": wanted(classification=1)})
    assert_problem(answer, 400, "malformed_request", "expected an output of numbers, it is BYTES[-1,-1]")
