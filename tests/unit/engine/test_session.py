"""A loaded model file: its signature, its outputs, its options, and why another cannot be served."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from service.engine.declaration import SessionOptions
from service.engine.graph import Facts, Graph
from service.engine.session import Compute, Session, session_options
from service.errors import RepositoryError
from service.tensors import DATATYPES, Datatype, Signature, TensorSpec
from tests import tiny

LEVELS = ort.GraphOptimizationLevel
ALONE = Compute()


def open_session(path: Path, compute: Compute = ALONE, facts: Facts | None = None, **options: Any) -> Session:
    """`facts` are those of the file, unless it has none to tell."""
    made = session_options(path, SessionOptions(**options), compute)
    return Session(path, facts or Graph(path).facts(), made, compute.providers)


def refusal(path: Path, compute: Compute = ALONE, facts: Facts | None = None) -> str:
    with pytest.raises(RepositoryError) as caught:
        open_session(path, compute, facts)
    return str(caught.value)


@pytest.mark.parametrize("datatype", tiny.DATATYPES)
def test_every_datatype_of_the_protocol_is_served(repository: Path, datatype: str) -> None:
    session = open_session(repository / f"identity_{datatype.lower()}" / "1" / "model.onnx")
    specs = [TensorSpec(name, DATATYPES[datatype], (-1, -1), ("batch", "n")) for name in ("x", "y")]
    assert session.signature == Signature((specs[0],), (specs[1],))
    tensor = (
        np.array([["a", "ü"]], np.object_) if datatype == "BYTES" else np.array([[0, 1]], DATATYPES[datatype].numpy)
    )
    [output] = session.run({"x": tensor}, ["y"])
    assert (output.dtype, output.tolist()) == (tensor.dtype, tensor.tolist())


@pytest.mark.parametrize(
    ("model", "signature"),
    [
        (
            tiny.scalar(),
            Signature((TensorSpec("x", Datatype.FP32, ()),), (TensorSpec("y", Datatype.FP32, ()),)),
        ),
        (
            tiny.unknown_rank(),
            Signature((TensorSpec("x", Datatype.FP32, None),), (TensorSpec("y", Datatype.FP32, None),)),
        ),
        (
            tiny.fixed(),
            Signature(
                (TensorSpec("x", Datatype.FP32, (1, 3), ("", "")),), (TensorSpec("y", Datatype.FP32, (1, 3), ("", "")),)
            ),
        ),
        (
            tiny.two_free(),
            Signature(
                (
                    TensorSpec("a", Datatype.FP32, (-1,), ("rows",)),
                    TensorSpec("b", Datatype.FP32, (-1,), ("columns",)),
                ),
                (TensorSpec("outer", Datatype.FP32, (-1, -1), ("rows", "columns")),),
            ),
        ),
    ],
)
def test_a_shape_is_read_as_the_file_has_it(tmp_path: Path, model: onnx.ModelProto, signature: Signature) -> None:
    assert open_session(tiny.write(model, tmp_path, "model")).signature == signature


def test_outputs_come_in_the_order_asked_for(repository: Path) -> None:
    session = open_session(repository / "add_sub" / "1" / "model.onnx")
    ones = np.ones((1, 16), np.int32)
    for names, sums in ((["sum", "difference"], [32, 0]), (["difference", "sum"], [0, 32]), (["difference"], [0])):
        assert [int(output.sum()) for output in session.run({"a": ones, "b": ones}, names)] == sums


def test_what_the_runtime_raises_passes_through(repository: Path) -> None:
    session = open_session(repository / "failing" / "1" / "model.onnx")
    with pytest.raises(ort.capi.onnxruntime_pybind11_state.InvalidArgument, match=tiny.SECRET):
        session.run({"index": np.array([9])}, ["row"])


@pytest.mark.parametrize(
    ("model", "output", "keys", "probabilities"),
    [
        (tiny.zipmap_int(), "output_probability", ("0", "1"), None),
        (tiny.zipmap_string(), "output_probability", ("cold", "warm"), None),
        (tiny.weighted(zipmap=True), "y", ("a", "b"), [[4, 6]]),
    ],
)
def test_a_map_per_row_is_served_as_a_labelled_tensor(
    tmp_path: Path,
    model: onnx.ModelProto,
    output: str,
    keys: tuple[str, ...],
    probabilities: list[list[float]] | None,
) -> None:
    path = tiny.write(model, tmp_path, "model")
    session = open_session(path)
    spec = session.signature.outputs[-1]
    assert (spec.name, spec.datatype, spec.shape, spec.labels) == (output, Datatype.FP32, (-1, 2), keys)
    [rows] = session.run({"x": np.ones((1, 2), np.float32)}, [output])
    assert (rows.dtype, rows.shape) == (np.dtype(np.float32), (1, 2))
    assert probabilities is None or rows.tolist() == probabilities


def test_a_prepared_form_is_loaded_as_it_is_and_keeps_its_labels(tmp_path: Path) -> None:
    path = tiny.write(tiny.weighted(), tmp_path, "model")
    facts = Facts(labels={"y": ("a", "b")})
    session = Session(path, facts, ort.SessionOptions(), ALONE.providers, prepared=True)
    assert session.signature.outputs == (TensorSpec("y", Datatype.FP32, (-1, 2), ("batch", ""), ("a", "b")),)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (tiny.sequence_output(), "output 'y' is a seq(tensor(float))"),
        (tiny.bfloat16(), "input 'x' is a tensor(bfloat16)"),
    ],
)
def test_what_the_protocol_cannot_carry_is_refused(tmp_path: Path, model: onnx.ModelProto, what: str) -> None:
    path = tiny.write(model, tmp_path, "model")
    assert refusal(path) == (
        f"{path}: {what}, which cannot be served: expected a tensor of bool, uint8, uint16, uint32, uint64, int8, "
        "int16, int32, int64, float16, float, double, string; "
        f"export the model with a Cast or without that {what.split(maxsplit=1)[0]}"
    )


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    sentence = refusal(path, facts=Facts())
    assert sentence.startswith(f"{path} cannot be loaded by ONNX Runtime: ")
    assert "\n" not in sentence


@pytest.mark.parametrize("zipmap", [False, True])
def test_weights_outside_the_file_are_found(tmp_path: Path, zipmap: bool) -> None:
    path = tiny.write_with_weights_outside(tiny.weighted(zipmap), tmp_path, "weighted")
    [y] = open_session(path).run({"x": np.array([[1, 10]], np.float32)}, ["y"])
    assert y.tolist() == [[31, 42]]


def test_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    path = tiny.write_with_weights_outside(tiny.weighted(), tmp_path, "weighted")
    facts = Graph(path).facts()
    (path.parent / "weights.bin").unlink()
    sentence = refusal(path, facts=facts)
    assert sentence.startswith(f"{path} cannot be loaded by ONNX Runtime: ")
    assert "weights.bin" in sentence


def test_a_provider_that_is_not_there_is_named(repository: Path) -> None:
    path = repository / "double" / "1" / "model.onnx"
    assert refusal(path, Compute(providers=("CPUExecutionProvider", "MoonExecutionProvider"))) == (
        "execution provider MoonExecutionProvider is not in this build of ONNX Runtime, which has "
        f"{', '.join(ort.get_available_providers())}: change ONNICORN_RUNTIME__PROVIDERS or the model's providers, "
        "or install another onnxruntime package"
    )


def threads() -> int:
    """Of this process, as the kernel counts them."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@pytest.mark.parametrize(
    ("compute", "options", "started"),
    [
        (Compute(), {}, 0),
        (Compute(intra_op_threads=3), {}, 2),
        (Compute(intra_op_threads=3), {"intra_op_threads": 2}, 1),
    ],
)
def test_a_session_starts_the_threads_that_it_is_granted(
    repository: Path, compute: Compute, options: dict[str, Any], started: int
) -> None:
    before = threads()
    session = open_session(repository / "double" / "1" / "model.onnx", compute, **options)
    assert threads() - before == started
    assert session.signature.output_names == ["y"]


@pytest.mark.parametrize(
    ("compute", "config", "spinning"),
    [
        (Compute(), {}, "0"),
        (Compute(spinning=True), {}, None),
        (Compute(), {"session.intra_op.allow_spinning": "1"}, "1"),
    ],
)
def test_threads_spin_where_nobody_else_wants_the_cpu(
    tmp_path: Path, compute: Compute, config: dict[str, str], spinning: str | None
) -> None:
    options = session_options(tmp_path / "model.onnx", SessionOptions(config=config), compute)
    key = "session.intra_op.allow_spinning"
    if spinning is None:
        with pytest.raises(RuntimeError, match=key):
            options.get_session_config_entry(key)
    else:
        assert options.get_session_config_entry(key) == spinning


@pytest.mark.parametrize(
    ("declared", "level"),
    [
        ("all", LEVELS.ORT_ENABLE_ALL),
        ("extended", LEVELS.ORT_ENABLE_EXTENDED),
        ("basic", LEVELS.ORT_ENABLE_BASIC),
        ("disabled", LEVELS.ORT_DISABLE_ALL),
    ],
)
def test_a_model_may_declare_how_far_it_is_optimised(tmp_path: Path, declared: Any, level: Any) -> None:
    options = session_options(tmp_path / "model.onnx", SessionOptions(graph_optimization=declared), ALONE)
    assert options.graph_optimization_level == level


@pytest.mark.parametrize(
    ("compute", "declared", "is_one"),
    [
        (Compute(), None, True),
        (Compute(), 2, False),
        (Compute(intra_op_threads=2), None, False),
        (Compute(intra_op_threads=2), 1, True),
        (Compute(providers=("CUDAExecutionProvider", "CPUExecutionProvider")), None, False),
    ],
)
def test_one_thread_of_one_cpu_is_told_from_more(compute: Compute, declared: int | None, is_one: bool) -> None:
    assert compute.is_one_cpu_thread(declared) is is_one


def test_the_providers_that_a_model_declares_win() -> None:
    compute = Compute(3, spinning=True, providers=("A",))
    assert compute.preferring(("B", "A")) == Compute(3, spinning=True, providers=("B", "A"))
    assert compute.preferring(()) == compute
