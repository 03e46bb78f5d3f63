"""One version of one model: what is checked before it serves, and what it does with a request."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from structlog.typing import EventDict

from service.engine.cache import Cache
from service.engine.manifest import Findings
from service.engine.model import Model
from service.engine.prepare import prepare
from service.engine.session import Compute
from service.errors import InferenceFailed, RepositoryError, SignatureMismatch
from service.tensors import Array, Datatype, TensorSpec
from tests import tiny
from tests.oip import Json
from tests.unit.loading import entry, load

ONES = {"x": np.ones((1, 4), np.float32)}
TOGETHER = Findings(together=True, batch_rows=8)


def floats(*shape: int, value: float = 1) -> dict[str, Array]:
    return {"x": np.full(shape, value, np.float32)}


def load_refusal(model: onnx.ModelProto, root: Path, **declared: Any) -> str:
    with pytest.raises(RepositoryError) as caught:
        load(model, root, **declared)
    return str(caught.value)


def test_a_model_says_what_it_is(tmp_path: Path) -> None:
    checked = entry(tiny.double(), tmp_path, "cat", 3)
    model = Model(checked, Compute())
    facts = (model.name, model.version, model.digest, model.declaration, model.findings, model.operators)
    assert facts == ("cat", 3, checked.digest, checked.declaration, checked.findings, frozenset({"Add"}))
    assert (model.example, model.is_prepared, model.runs_on_one_cpu_thread, model.padding) == ({}, False, True, None)
    assert model.signature.batch


def test_a_model_may_declare_threads_of_its_own(tmp_path: Path) -> None:
    assert not load(tiny.double(), tmp_path, session={"intra_op_threads": 2}).runs_on_one_cpu_thread


def test_a_file_that_has_changed_since_it_was_checked_is_refused(tmp_path: Path) -> None:
    checked = entry(tiny.double(), tmp_path)
    onnx.save(tiny.fixed(), checked.file)
    with pytest.raises(RepositoryError) as caught:
        Model(checked, Compute())
    assert (
        str(caught.value) == f"{checked.file} has changed since it was checked; restart the service to check it again"
    )


def test_a_file_that_is_gone_since_it_was_checked_is_named(tmp_path: Path) -> None:
    checked = entry(tiny.double(), tmp_path)
    checked.file.unlink()
    with pytest.raises(RepositoryError) as caught:
        Model(checked, Compute())
    assert str(caught.value) == f"{checked.file} cannot be read: No such file or directory"


def test_the_prepared_form_is_what_was_checked_whatever_has_become_of_the_file(tmp_path: Path) -> None:
    checked = entry(tiny.double(), tmp_path)
    prepared = prepare(checked, Compute(), Cache(tmp_path / "cache", keep_days=7))
    onnx.save(tiny.fixed(), checked.file)
    model = Model(checked.model_copy(update={"prepared": prepared}), Compute())
    assert model.is_prepared
    assert model.run_all(ONES)[0].tolist() == [[2, 2, 2, 2]]


def test_a_prepared_form_that_is_gone_is_replaced_by_the_file_with_a_word(
    tmp_path: Path, records: list[EventDict]
) -> None:
    lost = entry(tiny.double(), tmp_path).model_copy(update={"prepared": tmp_path / "cache" / "model.onnx"})
    model = Model(lost, Compute())
    assert not model.is_prepared
    assert model.run_all(ONES)[0].tolist() == [[2, 2, 2, 2]]
    [record] = records
    assert record.pop("reason").startswith(f"{lost.prepared} cannot be loaded by ONNX Runtime: ")
    assert record == {"event": "prepared_lost", "log_level": "warning", "model": "tiny", "version": 1}


PINNED = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
}


def test_a_model_with_the_pinned_signature_is_loaded(tmp_path: Path) -> None:
    assert load(tiny.double(), tmp_path, signature=PINNED).signature.output_names == ["y"]


def test_a_model_with_another_signature_is_refused(tmp_path: Path) -> None:
    assert load_refusal(tiny.fixed(), tmp_path, signature=PINNED) == (
        "model.toml pins the inputs x: FP32[-1,4], the model has x: FP32[1,3]"
    )


@pytest.mark.parametrize(("declared", "first_axis", "batch"), [({}, "batch", True), ({"batch": False}, "rows", False)])
def test_a_model_may_declare_that_it_has_no_batch_axis(
    tmp_path: Path, declared: Json, first_axis: str, batch: bool
) -> None:
    proto = tiny.double()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = first_axis
    model = load(proto, tmp_path, **declared)
    assert model.signature.batch is batch
    assert {spec.names[0] for spec in model.signature.inputs} == {first_axis}


@pytest.mark.parametrize(
    ("proto", "output", "shape"), [(tiny.double(), "y", (-1, 4)), (tiny.reciprocal(), "log", (-1, -1))]
)
def test_declared_labels_name_the_last_axis(
    tmp_path: Path, proto: onnx.ModelProto, output: str, shape: tuple[int, ...]
) -> None:
    model = load(proto, tmp_path, labels={output: ["a", "b", "c", "d"]})
    names = ("batch", "n" if shape[-1] == -1 else "")
    assert model.signature.outputs[-1] == TensorSpec(output, Datatype.FP32, shape, names, ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("proto", "labels", "reason"),
    [
        (tiny.double(), {"z": ["a"]}, "there is no output 'z'; expected one of ['y']"),
        (tiny.double(), {"y": ["a", "b"]}, "output 'y' is FP32[-1,4], got 2 labels"),
        (tiny.scalar(), {"y": ["a"]}, "output 'y' is FP32[], got 1 labels"),
        (tiny.unknown_rank(), {"y": ["a"]}, "output 'y' is FP32[...], got 1 labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, proto: onnx.ModelProto, labels: Json, reason: str) -> None:
    assert load_refusal(proto, tmp_path, labels=labels) == f"labels in model.toml: {reason}"


@pytest.mark.parametrize("declared", [{}, {"limits": {"max_rows": 2}}])
def test_a_request_within_the_limits_is_counted_in_rows(tmp_path: Path, declared: Json) -> None:
    assert load(tiny.double(), tmp_path, **declared).check({"x": np.ones((2, 4), np.float32)}) == 2


def test_a_request_of_too_many_rows_is_refused(tmp_path: Path) -> None:
    model = load(tiny.double(), tmp_path, limits={"max_rows": 2})
    with pytest.raises(SignatureMismatch) as caught:
        model.check({"x": np.ones((3, 4), np.float32)})
    assert str(caught.value) == "model 'tiny' takes at most 2 rows in one request, got 3"


def test_a_request_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignatureMismatch, match=r"^input 'x': expected FP32"):
        load(tiny.double(), tmp_path).check({"x": np.ones((3, 5), np.float32)})


DECLARED: Json = {"limits": {"batch_rows": 48}}


@pytest.mark.parametrize(
    ("declared", "findings", "most", "rows"),
    [
        ({}, Findings(together=True, batch_rows=16), 32, 16),
        ({}, Findings(together=True, batch_rows=64), 32, 32),
        ({}, Findings(together=True, batch_rows=1), 32, 1),
        (DECLARED, Findings(together=True, batch_rows=16), 32, 48),
        (DECLARED, Findings(together=True, batch_rows=1), 32, 48),
        (DECLARED, Findings(together=True, batch_rows=16), 1, 1),
        (DECLARED, Findings(together=False), 32, 1),
    ],
)
def test_as_many_rows_run_together_as_pay_or_as_declared(
    tmp_path: Path, declared: Json, findings: Findings, most: int, rows: int
) -> None:
    model = load(tiny.double(), tmp_path, findings=findings, **declared)
    assert model.batch_limit(most) == rows


def test_requests_whose_rows_go_together_meet_whatever_pays(tmp_path: Path) -> None:
    """How many rows pay is the batcher's to know; the same key says only that none would come out differently."""
    key = load(tiny.reciprocal(), tmp_path, findings=Findings(together=True, batch_rows=1)).batch_key
    assert key(floats(1, 3)) == key(floats(1, 3))


def test_requests_meet_where_all_but_the_rows_agrees(tmp_path: Path) -> None:
    key = load(tiny.reciprocal(), tmp_path, findings=TOGETHER).batch_key
    assert key(floats(1, 3)) == key(floats(5, 3))
    assert key(floats(1, 3)) != key(floats(1, 4))


def test_requests_whose_rows_must_not_meet_never_do(tmp_path: Path) -> None:
    key = load(tiny.reciprocal(), tmp_path).batch_key
    assert key(floats(1, 3)) != key(floats(1, 3))


PADDED: Json = {"padding": {"n": {"inputs": {"x": 1}, "mask": "x", "max_waste": 10}}}


@pytest.mark.parametrize(("pads", "meets"), [(True, True), (False, False)])
def test_requests_of_different_lengths_meet_where_padding_pays(tmp_path: Path, pads: bool, meets: bool) -> None:
    key = load(tiny.reciprocal(), tmp_path, findings=TOGETHER.model_copy(update={"pads": pads}), **PADDED).batch_key
    assert (key(floats(1, 3)) == key(floats(1, 4))) is meets


def test_a_run_of_several_gives_each_its_own_rows(tmp_path: Path) -> None:
    model = load(tiny.reciprocal(), tmp_path, findings=TOGETHER)
    requests = [floats(1, 2, value=1), floats(2, 2, value=2), floats(1, 2, value=4)]
    together = model.run_together(requests, [1, 2, 1], ["reciprocal"])
    assert [[output.tolist() for output in outputs] for outputs in together] == [
        [[[1, 1]]],
        [[[0.5, 0.5], [0.5, 0.5]]],
        [[[0.25, 0.25]]],
    ]


def test_a_run_of_one_is_that_request(tmp_path: Path) -> None:
    [[output]] = load(tiny.double(), tmp_path, findings=TOGETHER).run_together([ONES], [1], ["y"])
    assert output.tolist() == [[2, 2, 2, 2]]


def test_a_padded_run_gives_each_its_own_length(tmp_path: Path) -> None:
    model = load(tiny.reciprocal(), tmp_path, findings=TOGETHER.model_copy(update={"pads": True}), **PADDED)
    requests = [floats(1, 1, value=2), floats(1, 3, value=4)]
    together = model.run_together(requests, [1, 1], ["reciprocal", "log"])
    assert [[output.shape for output in outputs] for outputs in together] == [[(1, 1)] * 2, [(1, 3)] * 2]
    assert [outputs[0].tolist() for outputs in together] == [[[0.5]], [[0.25, 0.25, 0.25]]]


def test_a_run_of_several_that_fails_fails_as_a_whole(tmp_path: Path) -> None:
    requests = [{"index": np.array([value])} for value in (0, 9)]
    with pytest.raises(InferenceFailed):
        load(tiny.failing(), tmp_path, findings=TOGETHER).run_together(requests, [1, 1], ["row"])


def test_a_run_that_fails_keeps_its_reason_for_the_log(tmp_path: Path) -> None:
    with pytest.raises(InferenceFailed) as caught:
        load(tiny.failing(), tmp_path).run({"index": np.array([9])}, ["row"])
    assert str(caught.value) == "model 'tiny' version 1 failed while it ran; the log has the reason"
    assert tiny.SECRET in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("proto", "inputs", "outputs", "shapes"),
    [
        (tiny.flattened(), {"x": np.ones((0, 2, 2), np.float32)}, ["y"], [(np.float32, (0, 4))]),
        (tiny.failing(), {"index": np.ones(0, np.int64)}, ["row"], [(np.float32, (0, 2))]),
        (tiny.gather_words(), {"index": np.ones(0, np.int64)}, ["word"], [(np.object_, (0,))]),
        (
            tiny.reciprocal(),
            {"x": np.ones((0, 3), np.float32)},
            ["log", "reciprocal"],
            [(np.float32, (0, 3)), (np.float32, (0, 3))],
        ),
    ],
)
def test_no_rows_give_no_rows(
    tmp_path: Path,
    proto: onnx.ModelProto,
    inputs: dict[str, Array],
    outputs: list[str],
    shapes: list[tuple[type, tuple[int, ...]]],
) -> None:
    got = load(proto, tmp_path).run(inputs, outputs)
    assert [(array.dtype, array.shape) for array in got] == [(np.dtype(dtype), shape) for dtype, shape in shapes]


def test_a_model_that_cannot_run_on_no_rows_is_not_asked_to(tmp_path: Path) -> None:
    empty = {"x": np.ones((0, 2, 2), np.float32)}
    with pytest.raises(InferenceFailed):
        load(tiny.flattened(), tmp_path, batch=False).run(empty, ["y"])
    assert load(tiny.flattened(), tmp_path, "other").run(empty, ["y"])[0].shape == (0, 4)


def test_no_rows_are_run_where_the_shape_of_the_outputs_is_not_known(tmp_path: Path) -> None:
    [y] = load(tiny.repeated(), tmp_path).run({"x": np.ones((0, 3), np.float32)}, ["y"])
    assert (y.dtype, y.shape) == (np.dtype(np.float32), (0, 6))


def test_no_elements_are_no_missing_rows_without_a_batch_axis(tmp_path: Path) -> None:
    [y] = load(tiny.unknown_rank(), tmp_path).run({"x": np.ones((0,), np.float32)}, ["y"])
    assert y.shape == (0,)
