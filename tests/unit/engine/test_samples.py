"""Recorded samples and made-up inputs."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.engine.samples import Golden, GoldenPredictions, made_up, ones, read_golden, read_sample
from service.errors import RepositoryError
from service.tensors import Array, Datatype, Signature, TensorSpec
from tests.oip import tensor

X = tensor("x", "FP32", [1, 2], [1, 2])
Y = tensor("y", "INT64", [1], [3])


def record(directory: Path, sample: Any, name: str = "one.json") -> Path:
    directory.mkdir(exist_ok=True)
    file = directory / name
    file.write_text(sample if isinstance(sample, str) else json.dumps(sample))
    return file


def golden(tolerance: float = 0.1, **outputs: Array) -> Golden:
    return Golden(Path("one.json"), {}, outputs, tolerance)


@pytest.mark.parametrize(("stated", "tolerance"), [({}, 0.5), ({"tolerance": 0}, 0), ({"tolerance": 1e-3}, 1e-3)])
def test_a_sample_is_read_with_its_tolerance(tmp_path: Path, stated: dict[str, float], tolerance: float) -> None:
    file = record(tmp_path, {"inputs": [X], "outputs": [Y], **stated})
    sample = read_sample(file, 0.5)
    assert isinstance(sample, Golden)
    assert (sample.file, sample.tolerance) == (file, tolerance)
    assert {name: (each.dtype, each.tolist()) for name, each in sample.inputs.items()} == {
        "x": (np.dtype(np.float32), [[1, 2]])
    }
    assert {name: (each.dtype, each.tolist()) for name, each in sample.outputs.items()} == {
        "y": (np.dtype(np.int64), [3])
    }


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ("{", "JSONDecodeError: "),
        ([], "AttributeError: "),
        ({"outputs": []}, "KeyError: 'inputs'"),
        ({"inputs": []}, "KeyError: 'outputs'"),
        ({"inputs": 1, "outputs": []}, "TypeError: "),
        ({"inputs": ["x"], "outputs": []}, "TypeError: "),
        ({"inputs": [{"name": "x"}], "outputs": []}, "KeyError: 'datatype'"),
        ({"inputs": [X | {"datatype": "FLOAT"}], "outputs": []}, "KeyError: 'FLOAT'"),
        ({"inputs": [X | {"shape": [-1, -2]}], "outputs": []}, "ValueError: "),
        (
            {"inputs": [X | {"data": [1]}], "outputs": []},
            "MalformedRequest: tensor 'x': FP32[1,2] has 2 elements, 'data' has 1",
        ),
        ({"inputs": [], "outputs": [], "tolerance": None}, "TypeError: "),
        ({"inputs": [], "outputs": [], "tolerance": "much"}, "ValueError: "),
    ],
)
def test_a_sample_that_cannot_be_read_is_named(tmp_path: Path, sample: Any, reason: str) -> None:
    file = record(tmp_path, sample)
    with pytest.raises(RepositoryError) as caught:
        read_sample(file, 0.5)
    assert str(caught.value).startswith(f"golden sample {file} cannot be read: {reason}")


def test_a_sample_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"none\.json cannot be read: No such file or directory$"):
        read_sample(tmp_path / "none.json", 0.5)


def test_the_samples_of_a_directory_come_sorted(tmp_path: Path) -> None:
    sample = {"inputs": [X], "outputs": [Y]}
    files = [record(tmp_path / "golden", sample, name) for name in ("b.json", "a.json", "note.txt")]
    assert [each.file for each in read_golden(tmp_path / "golden", 0.5)] == [files[1], files[0]]
    assert read_golden(tmp_path / "none", 0.5) == []
    assert read_golden(None, 0.5) == []


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (np.array([1.0, 2.0]), np.array([1.05, 2.25])),
        (np.array([1, 2]), np.array([1, 2])),
        (np.array(["a"], np.object_), np.array(["a"], np.object_)),
        (np.array([True]), np.array([True])),
        (np.array([], np.float32), np.array([], np.float32)),
    ],
)
def test_outputs_within_the_tolerance_are_as_recorded(wanted: Array, got: Array) -> None:
    assert golden(y=wanted).difference({"y": got}) is None


@pytest.mark.parametrize(
    ("wanted", "got", "reason"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.5]), "differs by up to 0.5; the tolerance is 0.1"),
        (np.array([1.0]), np.array([np.nan]), "differs by up to nan; the tolerance is 0.1"),
        (np.array([1.0]), np.array([-np.inf]), "differs by up to inf; the tolerance is 0.1"),
        (np.array([1]), np.array([2]), "differs from the recorded one"),
        (np.array(["a"], np.object_), np.array(["b"], np.object_), "differs from the recorded one"),
        (np.array([True]), np.array([False]), "differs from the recorded one"),
        (np.array([[1.0]]), np.array([1.0]), "was recorded as float64[1, 1], is float64[1] now"),
        (np.array([1.0]), np.array([1.0], np.float32), "was recorded as float64[1], is float32[1] now"),
    ],
)
def test_the_first_output_that_differs_is_described(wanted: Array, got: Array, reason: str) -> None:
    same = np.array([0])
    sample = golden(same=same, y=wanted, z=wanted)
    assert sample.difference({"z": got, "y": got, "same": same}) == f"golden sample one.json: output 'y' {reason}"


@pytest.mark.parametrize(
    ("datatype", "shape", "filled"),
    [
        (Datatype.FP32, (-1, 2), [[[1, 1]], [[0, 0]]]),
        (Datatype.INT64, (), [1, 0]),
        (Datatype.FP64, None, [[1], [0]]),
        (Datatype.BOOL, (-1,), [[True], [False]]),
        (Datatype.BYTES, (2,), [["text", "text"], ["text", "text"]]),
    ],
)
def test_inputs_are_made_up_of_ones_and_then_of_zeros(
    datatype: Datatype, shape: tuple[int, ...] | None, filled: list[Any]
) -> None:
    signature = Signature((TensorSpec("x", datatype, shape), TensorSpec("i", Datatype.INT8, (1,))), ())
    samples = list(made_up(signature))
    assert [sample["x"].tolist() for sample in samples] == filled
    assert [sample["i"].tolist() for sample in samples] == [[1], [0]]
    assert {sample["x"].dtype for sample in samples} == {datatype.numpy}


def test_ones_are_of_any_shape() -> None:
    made = ones(Datatype.FP16, (2, 1))
    assert (made.dtype, made.tolist()) == (np.dtype(np.float16), [[1], [1]])


def test_a_sample_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = record(tmp_path, "{}")
    os.truncate(file, (128 << 20) + 1)
    with pytest.raises(RepositoryError) as caught:
        read_sample(file, 0.5)
    assert str(caught.value) == f"{file} is larger than 128 MiB, the most that is read of such a file"


def test_a_pipe_among_the_samples_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "one.json")
    with pytest.raises(RepositoryError, match=r"one\.json is not a regular file: copy a file there$"):
        read_golden(tmp_path, 0.5)


def predictions(*wanted: Any, tolerance: float = 0.1) -> GoldenPredictions:
    return GoldenPredictions(Path("one.json"), [], list(wanted), tolerance)


def test_a_sample_may_be_of_instances_and_predictions(tmp_path: Path) -> None:
    file = record(tmp_path, {"instances": [{"x": 1}], "predictions": ["one"], "tolerance": 0.2})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_golden(tmp_path, 0.5) == [GoldenPredictions(file, [{"x": 1}], ["one"], 0.2, digest)]


@pytest.mark.parametrize(
    ("sample", "reason"),
    [({"instances": []}, "KeyError: 'predictions'"), ({"instances": 1, "predictions": []}, "TypeError: ")],
)
def test_a_sample_of_predictions_that_cannot_be_read_is_named(tmp_path: Path, sample: Any, reason: str) -> None:
    file = record(tmp_path, sample)
    with pytest.raises(RepositoryError) as caught:
        read_sample(file, 0.5)
    assert str(caught.value).startswith(f"golden sample {file} cannot be read: {reason}")


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (1, 1.05),
        (1.5, 1.45),
        ("a", "a"),
        (True, True),
        (None, None),
        (None, float("nan")),
        ({"b": [1, 2], "a": None}, {"a": None, "b": [1.05, 2]}),
    ],
)
def test_predictions_within_the_tolerance_are_as_recorded(wanted: Any, got: Any) -> None:
    assert predictions(0, wanted).difference([0, got]) is None


@pytest.mark.parametrize(
    ("wanted", "got", "reason"),
    [
        (1, 1.5, "predictions[1] was recorded as 1, is 1.5 now"),
        (1, None, "predictions[1] was recorded as 1, is None now"),
        (None, 1.5, "predictions[1] was recorded as None, is 1.5 now"),
        (1, True, "predictions[1] was recorded as 1, is True now"),
        ("a", "b", "predictions[1] was recorded as 'a', is 'b' now"),
        ([1, 2], [1], "predictions[1] was recorded with 2 elements, has 1 now"),
        ([1, 2], [1, 3], "predictions[1][1] was recorded as 2, is 3 now"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "predictions[1].a.b was recorded as 1, is 2 now"),
        ({"a": 1}, {"b": 1}, "predictions[1] was recorded with ['a'], has ['b'] now"),
        ({"a": 1}, [1], "predictions[1] was recorded as {'a': 1}, is [1] now"),
    ],
)
def test_the_first_prediction_that_differs_is_described(wanted: Any, got: Any, reason: str) -> None:
    assert predictions(0, wanted, 0).difference([0, got, 9]) == f"golden sample one.json: {reason}"
