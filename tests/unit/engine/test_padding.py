"""Rows of different lengths in one run: which may meet, how they are filled up, and how they are cut back."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.engine.declaration import PaddingRule
from service.engine.manifest import Findings
from service.engine.model import Model
from service.engine.padding import Padding
from service.engine.session import Compute
from service.errors import RepositoryError
from service.tensors import Array, Datatype, Signature, Tensors, TensorSpec
from tests.oip import Json
from tests.unit import models
from tests.unit.loading import entry

IDS = TensorSpec("ids", Datatype.INT64, (-1, -1), ("batch", "sequence"))
MASK = TensorSpec("mask", Datatype.INT64, (-1, -1), ("batch", "sequence"))
EXTRA = TensorSpec("extra", Datatype.FP32, (-1, 2), ("batch", ""))
SCORE = TensorSpec("score", Datatype.FP32, (-1,), ("batch",))
SIGNATURE = Signature((IDS, MASK, EXTRA), (SCORE,), batch=True)
RULE = {"inputs": {"ids": 9, "mask": 0}, "mask": "mask", "max_waste": 2}


def rules(**declared: Json) -> dict[str, PaddingRule]:
    return {name: PaddingRule.model_validate(rule) for name, rule in declared.items()}


def padding(max_waste: float = 2) -> Padding:
    return Padding(SIGNATURE, rules(sequence=RULE | {"max_waste": max_waste}))


def request(length: int, rows: int = 1, extra: int = 2) -> Tensors:
    """Ids that count up from one, all of them under the mask."""
    ids = np.arange(1, rows * length + 1).reshape(rows, length)
    return {"ids": ids, "mask": np.ones_like(ids), "extra": np.ones((rows, extra), np.float32)}


def lists(tensors: Tensors) -> dict[str, Any]:
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def refusal(signature: Signature, **declared: Json) -> str:
    with pytest.raises(RepositoryError) as caught:
        Padding(signature, rules(**declared))
    return str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (request(5), request(5), True),
        (request(5, rows=1), request(5, rows=3), True),
        (request(4), request(7), True),
        (request(4), request(8), False),
        (request(3), request(4), False),
        (request(1), request(2), False),
        (request(0), request(0), True),
        (request(0), request(1), False),
        (request(5), request(5, extra=3), False),
    ],
)
def test_requests_of_similar_length_may_meet(one: Tensors, other: Tensors, meet: bool) -> None:
    assert (padding().key(one) == padding().key(other)) is meet


@pytest.mark.parametrize("max_waste", [1.01, 1.15, 1.5, 2, 3, 10])
def test_of_two_that_meet_the_longer_is_at_most_by_the_ratio_longer(max_waste: float) -> None:
    padder = padding(max_waste)
    lengths: dict[Any, list[int]] = {}
    for length in range(1, 2050):
        lengths.setdefault(padder.key(request(length)), []).append(length)
    assert [group for group in lengths.values() if group[-1] > group[0] * max_waste] == []
    assert [group for group in lengths.values() if group != list(range(group[0], group[-1] + 1))] == []


def test_an_axis_that_is_not_declared_must_agree() -> None:
    padder = Padding(SIGNATURE, {})
    keys = {padder.key(request(length)) for length in (4, 5, 6)}
    assert len(keys) == 3


def test_requests_are_stacked_as_long_as_the_longest() -> None:
    assert lists(padding().join([request(2), request(3, rows=2), request(1)])) == {
        "ids": [[1, 2, 9], [1, 2, 3], [4, 5, 6], [1, 9, 9]],
        "mask": [[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 0, 0]],
        "extra": [[1, 1]] * 4,
    }


def test_a_stack_keeps_its_datatypes() -> None:
    joined = padding().join([request(2), request(3)])
    assert {name: tensor.dtype for name, tensor in joined.items()} == {
        "ids": np.dtype(np.int64),
        "mask": np.dtype(np.int64),
        "extra": np.dtype(np.float32),
    }


def test_texts_are_padded_with_a_text() -> None:
    words = TensorSpec("words", Datatype.BYTES, (-1, -1), ("batch", "sequence"))
    padder = Padding(
        Signature((words,), (SCORE,), batch=True), rules(sequence={"inputs": {"words": ""}, "mask": "words"})
    )
    requests: list[Tensors] = [{"words": np.array([row], np.object_)} for row in (["a"], ["b", "c"])]
    joined = padder.join(requests)["words"]
    assert (joined.tolist(), joined.dtype) == ([["a", ""], ["b", "c"]], np.dtype(np.object_))


def test_every_declared_axis_is_padded() -> None:
    image = TensorSpec("image", Datatype.FP32, (-1, -1, -1), ("batch", "height", "width"))
    rule = {"inputs": {"image": 7}, "mask": "image"}
    padder = Padding(Signature((image,), (SCORE,), batch=True), rules(height=rule, width=rule))
    requests: list[Tensors] = [{"image": np.ones((1, *shape), np.float32)} for shape in ((1, 2), (2, 1))]
    assert padder.join(requests)["image"].tolist() == [[[1, 1], [7, 7]], [[1, 7], [1, 7]]]


@pytest.mark.parametrize(
    ("names", "shape", "cut"),
    [
        (("batch",), (2,), (2,)),
        (("batch", "sequence"), (2, 5), (2, 3)),
        (("batch", ""), (2, 5), (2, 5)),
        (("batch", "other"), (2, 5), (2, 5)),
        (("batch", "sequence", "sequence"), (2, 5, 5), (2, 3, 3)),
        (("batch", "", "sequence"), (2, 7, 5), (2, 7, 3)),
    ],
)
def test_an_output_loses_what_padding_has_added(
    names: tuple[str, ...], shape: tuple[int, ...], cut: tuple[int, ...]
) -> None:
    spec = TensorSpec("y", Datatype.INT64, (-1,) * len(names), names)
    output = np.arange(np.prod(shape)).reshape(shape)
    got = padding().cut(spec, output, request(3, rows=2))
    assert np.array_equal(got, output[tuple(slice(size) for size in cut)])
    assert np.shares_memory(got, output)


@pytest.mark.parametrize(
    ("length", "by", "longer"),
    [(4, 2, 8), (4, 1.15, 5), (10, 1.15, 12), (1, 1.15, 2), (0, 2, 1), (100, 1.15, 115)],
)
def test_rows_are_stretched_by_a_ratio_and_at_least_by_one(length: int, by: float, longer: int) -> None:
    added = longer - length
    ids = list(range(1, length + 1))
    assert lists(padding().stretched(request(length), by)) == {
        "ids": [ids + [9] * added],
        "mask": [[1] * length + [0] * added],
        "extra": [[1, 1]],
    }


FIXED = TensorSpec("ids", Datatype.INT64, (-1, 8), ("batch", ""))
WANTED = "expected a value for each of ids, mask, got "


@pytest.mark.parametrize(
    ("signature", "declared", "reason"),
    [
        (
            SIGNATURE,
            {"time": RULE},
            "padding in model.toml: no input has an axis 'time' behind a batch axis",
        ),
        (
            SIGNATURE,
            {"batch": RULE},
            "padding in model.toml: no input has an axis 'batch' behind a batch axis",
        ),
        (
            Signature((IDS, MASK), (SCORE,), batch=False),
            {"sequence": RULE},
            "padding in model.toml: no input has an axis 'sequence' behind a batch axis",
        ),
        (
            Signature((FIXED,), (SCORE,), batch=True),
            {"sequence": RULE},
            "padding in model.toml: no input has an axis 'sequence' behind a batch axis",
        ),
        (
            SIGNATURE,
            {"sequence": RULE | {"inputs": {"ids": 0}}},
            f"padding.sequence in model.toml: {WANTED}ids",
        ),
        (
            SIGNATURE,
            {"sequence": RULE | {"inputs": {"ids": 0, "mask": 0, "extra": 0}}},
            f"padding.sequence in model.toml: {WANTED}extra, ids, mask",
        ),
        (
            SIGNATURE,
            {"sequence": RULE | {"mask": "extra"}},
            "padding.sequence in model.toml: the mask 'extra' is not an input with that axis",
        ),
        (
            SIGNATURE,
            {"sequence": RULE, "time": RULE},
            "padding in model.toml: no input has an axis 'time' behind a batch axis",
        ),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(signature: Signature, declared: Mapping[str, Json], reason: str) -> None:
    assert refusal(signature, **declared) == reason


def of_one(datatype: Datatype, value: Any) -> tuple[Signature, Json]:
    """A model of one input of that datatype, and a rule that pads it with `value`."""
    given = TensorSpec("x", datatype, (-1, -1), ("batch", "sequence"))
    return Signature((given,), (SCORE,), batch=True), {"inputs": {"x": value}, "mask": "x"}


@pytest.mark.parametrize(
    ("datatype", "value", "shown"),
    [
        (Datatype.UINT8, "x", "'x'"),
        (Datatype.UINT8, 0.5, "0.5"),
        (Datatype.UINT8, 256, "256.0"),
        (Datatype.UINT8, -1, "-1.0"),
        (Datatype.INT8, -129, "-129.0"),
        (Datatype.BOOL, 2, "2.0"),
        (Datatype.INT64, float("nan"), "nan"),
        (Datatype.INT64, float("inf"), "inf"),
        (Datatype.FP32, "x", "'x'"),
        (Datatype.BYTES, 0, "0.0"),
    ],
)
def test_a_value_that_is_none_of_its_input_cannot_pad_it(datatype: Datatype, value: Any, shown: str) -> None:
    signature, rule = of_one(datatype, value)
    assert refusal(signature, sequence=rule) == (
        f"padding.sequence in model.toml: {shown} is no value of input 'x', {datatype.name}[-1,-1]"
    )


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        (Datatype.UINT8, 255),
        (Datatype.INT8, -128),
        (Datatype.BOOL, 1),
        (Datatype.FP32, 0.5),
        (Datatype.FP16, -1),
        (Datatype.BYTES, "x"),
    ],
)
def test_a_value_of_its_input_pads_it(datatype: Datatype, value: Any) -> None:
    signature, rule = of_one(datatype, value)
    requests: list[Tensors] = [{"x": np.full((1, length), value, datatype.numpy)} for length in (1, 2)]
    joined = Padding(signature, rules(sequence=rule)).join(requests)["x"]
    assert (joined.tolist(), joined.dtype) == ([[value, value]] * 2, datatype.numpy)


def sentences(*lengths: int) -> list[Tensors]:
    """Small numbers, so that sums are exact in whatever order."""
    random = np.random.default_rng(7)
    ids = [random.integers(0, 9, (1 + length % 2, length)).astype(np.float32) for length in lengths]
    return [{"ids": each, "mask": np.ones_like(each)} for each in ids]


def padded_model(root: Path) -> Model:
    """As it would be if padding had been found to win."""
    checked = entry(models.masked_mean(), root, padding={"sequence": RULE | {"inputs": {"ids": 5, "mask": 0}}})
    return Model(checked.model_copy(update={"findings": Findings(together=True, batch_rows=8, pads=True)}), Compute())


def flat(results: Sequence[Sequence[Array]]) -> list[list[Any]]:
    return [[(output.shape, output.tolist()) for output in outputs] for outputs in results]


@pytest.mark.parametrize(
    "outputs", [["mean", "seen"], ["seen", "mean"], ["mean"], ["seen"]], ids=lambda names: " ".join(names)
)
def test_padded_and_alone_a_model_answers_alike(tmp_path: Path, outputs: Sequence[str]) -> None:
    model = padded_model(tmp_path)
    asked = sentences(4, 7, 5, 6)
    assert len({model.batch_key(tensors) for tensors in asked}) == 1
    together = model.run_together(asked, [len(tensors["ids"]) for tensors in asked], outputs)
    alone = [model.run(tensors, outputs) for tensors in asked]
    assert flat(together) == flat(alone)


def test_without_the_rule_different_lengths_do_not_meet(tmp_path: Path) -> None:
    checked = entry(models.masked_mean(), tmp_path)
    model = Model(checked.model_copy(update={"findings": Findings(together=True, batch_rows=8)}), Compute())
    keys = [model.batch_key(tensors) for tensors in sentences(4, 5, 6)]
    assert [pair for pair in combinations(keys, 2) if pair[0] == pair[1]] == []
