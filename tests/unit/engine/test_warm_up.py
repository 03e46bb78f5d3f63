"""What a model runs with before any caller comes: recorded, declared and made-up inputs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.typing import EventDict

from service.engine.model import Model
from service.engine.samples import Golden
from service.engine.warm_up import warm_up
from service.errors import RepositoryError
from tests import tiny
from tests.oip import Json, tensor
from tests.transforms import LISTS
from tests.unit.loading import load, transforming

ONES = {"x": np.ones((1, 4), np.float32)}
X = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])
Y = tensor("y", "FP32", [1, 4], [2, 4, 6, 8])


def golden(root: Path, inputs: list[Json], outputs: list[Json], name: str = "one", **stated: Any) -> Path:
    """A recorded sample of the model `tiny` below `root`."""
    file = root / "tiny" / "1" / "golden" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"inputs": inputs, "outputs": outputs, **stated}))
    return file


def warmed_up(records: list[EventDict]) -> tuple[int, int]:
    """How many recorded and how many declared inputs the only model has run with."""
    [record] = records
    assert record.pop("seconds") >= 0
    counts = record.pop("golden"), record.pop("declared")
    assert record == {"event": "warmed_up", "log_level": "debug", "model": "tiny", "version": 1}
    return counts


def lists(tensors: Any) -> dict[str, Any]:
    return {name: array.tolist() for name, array in tensors.items()}


def warm_up_refusal(model: Model) -> str:
    with pytest.raises(RepositoryError) as caught:
        warm_up(model)
    return str(caught.value)


def test_a_model_without_hints_is_warmed_up_on_ones(tmp_path: Path, records: list[EventDict]) -> None:
    model = load(tiny.double(), tmp_path)
    warm_up(model)
    assert lists(model.example) == {"x": [[1, 1, 1, 1]]}
    assert warmed_up(records) == (0, 0)


def test_a_model_that_does_not_take_ones_is_warmed_up_on_zeros(tmp_path: Path) -> None:
    model = load(tiny.lookup(1), tmp_path)
    warm_up(model)
    assert lists(model.example) == {"index": [0]}


def test_a_model_that_takes_nothing_made_up_is_served_cold_with_a_word(
    tmp_path: Path, records: list[EventDict]
) -> None:
    model = load(tiny.sevens(), tmp_path)
    warm_up(model)
    assert model.example == {}
    skipped = records.pop(0)
    assert "{-1,7}" in skipped.pop("reason")
    assert skipped == {
        "event": "warm_up_skipped",
        "log_level": "warning",
        "model": "tiny",
        "version": 1,
        "hint": "the model does not run on made-up inputs: give it warm_up inputs in model.toml, or a golden sample",
    }
    assert warmed_up(records) == (0, 0)


@pytest.mark.parametrize(
    ("declared", "example"),
    [
        ([{"x": {"shape": [7]}}, {"x": {"shape": [14]}}], [1.0] * 7),
        ([{"x": {"shape": [7], "data": [0, 1, 2, 3, 4, 5, 6]}}], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    ],
)
def test_a_model_is_warmed_up_on_declared_inputs(
    tmp_path: Path, records: list[EventDict], declared: list[Json], example: list[float]
) -> None:
    model = load(tiny.sevens(), tmp_path, warm_up=declared)
    warm_up(model)
    assert lists(model.example) == {"x": example}
    assert warmed_up(records) == (0, len(declared))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"b": {"shape": [1]}, "a": {"shape": [1]}}, "model 'tiny': warm_up names unknown inputs a, b"),
        (
            {"x": {"shape": [2], "data": [1]}},
            "model 'tiny': warm_up: input 'x': FP32[2] has 2 elements, 'data' has 1",
        ),
        ({}, "model 'tiny' version 1: warm_up in model.toml: inputs: expected 'x', got none: missing 'x'"),
        (
            {"x": {"shape": [7, 1]}},
            "model 'tiny' version 1: warm_up in model.toml: input 'x': expected FP32[-1], got FP32[7,1]",
        ),
    ],
)
def test_declared_inputs_that_do_not_fit_are_refused(tmp_path: Path, given: Json, reason: str) -> None:
    assert warm_up_refusal(load(tiny.sevens(), tmp_path, warm_up=[given])) == reason


def test_declared_inputs_that_the_model_does_not_take_are_refused(tmp_path: Path) -> None:
    sentence = warm_up_refusal(load(tiny.sevens(), tmp_path, warm_up=[{"x": {"shape": [3]}}]))
    assert sentence.startswith("model 'tiny' version 1: warm_up in model.toml: ")
    assert "{-1,7}" in sentence
    assert "\n" not in sentence


def test_recorded_samples_are_replayed(tmp_path: Path, records: list[EventDict]) -> None:
    model = load(tiny.double(), tmp_path)
    golden(tmp_path, [X], [Y])
    golden(tmp_path, [X | {"data": [9, 9, 9, 9]}], [], "two")
    warm_up(model)
    assert lists(model.example) == {"x": [[1, 2, 3, 4]]}
    assert warmed_up(records) == (2, 0)


def test_samples_that_have_been_read_are_not_read_again(tmp_path: Path, records: list[EventDict]) -> None:
    model = load(tiny.double(), tmp_path)
    file = golden(tmp_path, [X], [Y | {"data": [0, 0, 0, 0]}])
    read = Golden(file, {"x": ONES["x"]}, {"y": 2 * ONES["x"]}, 0)
    warm_up(model, [read, read])
    assert warmed_up(records) == (2, 0)


def test_recorded_and_declared_inputs_are_both_run(tmp_path: Path, records: list[EventDict]) -> None:
    model = load(tiny.double(), tmp_path, warm_up=[{"x": {"shape": [2, 4]}}])
    golden(tmp_path, [X], [Y])
    warm_up(model)
    assert lists(model.example) == {"x": [[1, 2, 3, 4]]}
    assert warmed_up(records) == (1, 1)


@pytest.mark.parametrize(
    ("declared", "stated", "fits"),
    [({}, {}, False), ({"tolerance": 0.5}, {}, True), ({"tolerance": 0.5}, {"tolerance": 0.01}, False)],
)
def test_a_sample_is_held_to_its_tolerance_or_the_models(
    tmp_path: Path, declared: Json, stated: Json, fits: bool
) -> None:
    model = load(tiny.double(), tmp_path, **declared)
    file = golden(tmp_path, [X], [Y | {"data": [2, 4, 6, 8.25]}], **stated)
    if fits:
        warm_up(model)
    else:
        assert warm_up_refusal(model) == (
            f"model 'tiny' version 1: golden sample {file}: output 'y' differs by up to 0.25; "
            f"the tolerance is {stated.get('tolerance', 1e-05)}"
        )


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([X], [Y | {"name": "z"}], "unknown outputs 'z': the model has 'y'"),
        ([X | {"name": "z"}], [Y], "inputs: expected 'x', got 'z': missing 'x', unknown 'z'"),
        ([X | {"shape": [4]}], [Y], "input 'x': expected FP32[-1,4], got FP32[4]"),
        (
            [X],
            [Y | {"shape": [4]}],
            "golden sample {file}: output 'y' was recorded as float32[4], is float32[1, 4] now",
        ),
    ],
)
def test_a_sample_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, inputs: list[Json], outputs: list[Json], reason: str
) -> None:
    model = load(tiny.double(), tmp_path)
    file = golden(tmp_path, inputs, outputs)
    assert reason.format(file=file) in warm_up_refusal(model)
    assert str(file) in warm_up_refusal(model)


def test_a_sample_that_the_model_fails_on_is_refused(tmp_path: Path) -> None:
    model = load(tiny.failing(), tmp_path)
    file = golden(tmp_path, [tensor("index", "INT64", [1], [9])], [])
    assert warm_up_refusal(model).startswith(f"model 'tiny' version 1: golden sample {file}: ")


def predicted(root: Path, instances: list[Any], predictions: list[Any], **stated: Any) -> Path:
    """A recorded sample of the transform of the model `tiny` below `root`."""
    file = root / "tiny" / "1" / "golden" / "predicted.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"instances": instances, "predictions": predictions, **stated}))
    return file


def test_recorded_predictions_are_replayed_through_the_transform(tmp_path: Path, records: list[EventDict]) -> None:
    model = transforming(LISTS, tiny.double(), tmp_path)
    predicted(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]], [[2, 4, 6, 8], [10, 12, 14, 16]])
    warm_up(model)
    assert model.transform
    assert model.transform.example() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert lists(model.example) == {"x": [[1, 2, 3, 4], [5, 6, 7, 8]]}
    assert warmed_up(records) == (1, 0)


def test_the_example_of_a_model_for_one_at_a_time_is_one(tmp_path: Path) -> None:
    model = transforming(LISTS, tiny.double(), tmp_path, batch=False)
    predicted(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]], [[2, 4, 6, 8], [10, 12, 14, 16]])
    warm_up(model)
    assert lists(model.example) == {"x": [[1, 2, 3, 4]]}


@pytest.mark.parametrize(
    ("instances", "predictions", "reason"),
    [
        ([[1, 2, 3, 4]], [[2, 4, 6, 9]], "golden sample {file}: predictions[0][3] was recorded as 9, is 8.0 now"),
        ([[1, 2, 3, 4]], [], "golden sample {file}: predictions was recorded with 0 elements, has 1 now"),
        (["x"], [[]], 'golden sample {file}: instances[0]: expected an array, got "x"'),
        ([[1]], [[]], "golden sample {file}: instances[0]: expected four numbers"),
    ],
)
def test_predictions_that_are_not_as_recorded_are_refused(
    tmp_path: Path, instances: list[Any], predictions: list[Any], reason: str
) -> None:
    model = transforming(LISTS, tiny.double(), tmp_path)
    file = predicted(tmp_path, instances, predictions)
    assert warm_up_refusal(model) == f"model 'tiny' version 1: {reason.format(file=file)}"


def test_a_transform_that_fails_is_refused_with_the_line(tmp_path: Path) -> None:
    source = LISTS.replace('return outputs["y"]', 'return outputs["z"]')
    model = transforming(source, tiny.double(), tmp_path)
    file = predicted(tmp_path, [[1, 2, 3, 4]], [[]])
    line = 1 + source.splitlines().index('        return outputs["z"]')
    assert warm_up_refusal(model) == (
        f"model 'tiny' version 1: golden sample {file}: KeyError: 'z' (line {line} of transform.py)"
    )


def test_recorded_predictions_need_a_transform(tmp_path: Path) -> None:
    model = load(tiny.double(), tmp_path)
    file = predicted(tmp_path, [[1, 2, 3, 4]], [[]])
    assert warm_up_refusal(model) == (
        f"golden sample {file} has instances, and the model has no transform to take them"
    )


def test_a_transform_of_which_nothing_is_recorded_is_tried_with_what_its_type_shows(
    tmp_path: Path, records: list[EventDict]
) -> None:
    shown = "Instance = Annotated[list[float], WithJsonSchema({'type': 'array', 'examples': [[1, 2, 3, 4]]})]\n"
    head = "from typing import Annotated\nfrom pydantic import WithJsonSchema\n"
    source = head + LISTS.replace("Instance = Prediction = list[float]\n", f"{shown}    Prediction = list[float]\n")
    model = transforming(source, tiny.double(), tmp_path)
    warm_up(model)
    assert lists(model.example) == {"x": [[1, 2, 3, 4]]}
    assert warmed_up(records) == (0, 0)
    wrong = transforming(source.replace("[[1, 2, 3, 4]]", "[[1]]"), tiny.double(), tmp_path / "wrong")
    assert warm_up_refusal(wrong) == (
        "model 'tiny' version 1: the examples of Instance: instances[0]: expected four numbers"
    )


def test_a_transform_that_cannot_be_tried_is_served_cold_with_a_word(tmp_path: Path, records: list[EventDict]) -> None:
    warm_up(transforming(LISTS, tiny.double(), tmp_path))
    assert records.pop(0) == {
        "event": "transform_not_tried",
        "log_level": "warning",
        "model": "tiny",
        "version": 1,
        "hint": 'record a golden sample, {"instances": [...], "predictions": [...]}, or give Instance examples',
    }
    assert warmed_up(records) == (0, 0)
