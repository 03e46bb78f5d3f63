"""What a Triton `config.pbtxt` sets: honoured, said elsewhere, or not supported; and what the model says otherwise."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from service.engine import pbtxt, triton
from service.engine.declaration import Declaration
from service.engine.triton import Served, Verdict
from service.knobs import Admission, Batching
from service.tensors import FREE, Datatype, Signature, TensorSpec

BATCHED = Signature(
    (TensorSpec("x", Datatype.FP32, (FREE, 3), ("batch", "")),),
    (TensorSpec("y", Datatype.BYTES, (FREE,), ("batch",)),),
    batch=True,
)
SINGLE = Signature((TensorSpec("x", Datatype.FP32, (1, 3)),), (TensorSpec("y", Datatype.BYTES, None),))


@pytest.fixture
def said(tmp_path: Path) -> Any:
    """`said("max_batch_size: 8", toml="...")`: the remarks as (field, verdict, text)."""

    def remarks(text: str, signature: Signature | None = BATCHED, toml: str = "", **settings: Any) -> list[Any]:
        file = tmp_path / pbtxt.FILE
        file.write_text(text)
        served = Served(
            name="cat",
            declaration=Declaration.model_validate(tomllib.loads(toml)),
            signature=signature,
            batching=Batching(**settings.get("batching", {})),
            admission=Admission(**settings.get("admission", {})),
        )
        return [(each.field, each.verdict, each.text) for each in triton.remarks(*pbtxt.read(file), served)]

    return remarks


LINES = {
    "max_batch_size: 0": "batch = false",
    "max_batch_size: 8": "limits.max_rows = 8",
    "version_policy { all { } }": 'versions = "all"',
    "version_policy { specific { versions: [ 3, 1 ] } }": "versions = [1, 3]",
    "dynamic_batching { preferred_batch_size: [ 4, 8 ] }": "limits.batch_rows = 8",
    "instance_group { count: 2 }": "run_threads = 2",
    "instance_group { kind: KIND_GPU }": 'providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]',
    "optimization { graph { level: -1 } }": 'session.graph_optimization = "basic"',
    "optimization { graph { level: 1 } }": 'session.graph_optimization = "extended"',
    "optimization { graph { level: 2 } }": 'session.graph_optimization = "disabled"',
    "optimization { execution_accelerators { cpu_execution_accelerator { name: 'openvino' } } }": (
        'providers = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]'
    ),
    "parameters { key: 'intra_op_thread_count' value { string_value: '2' } }": "session.intra_op_threads = 2",
    "parameters { key: 'session.set_denormal_as_zero' value { string_value: '1' } }": (
        'session.config."session.set_denormal_as_zero" = "1"'
    ),
    "max_batch_size: 0 model_warmup { inputs { key: 'x' value { dims: [1, 3] } } }": (
        'warm_up = [{ "x" = { shape = [1, 3] } }]'
    ),
    "max_batch_size: 8 model_warmup { batch_size: 4 inputs { key: 'x' value { dims: 3 } } }": (
        'warm_up = [{ "x" = { shape = [4, 3] } }]'
    ),
}


@pytest.mark.parametrize("text", LINES)
def test_what_a_declaration_says_is_given_as_its_line_which_is_then_honoured(said: Any, text: str) -> None:
    *_, (field, verdict, remark) = said(text)
    assert verdict == Verdict.DECLARE
    line = remark.removeprefix("write into model.toml: ").partition("   #")[0]
    assert line == LINES[text]
    assert said(text, toml=line)[-1] == (field, Verdict.HONOURED, "model.toml says the same")


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "max_queue_delay_microseconds: 100": ("ONNICORN_BATCHING__LINGER_MS=0.1", {"batching": {"linger_ms": 0.1}}),
    "priority_levels: 3": ("ONNICORN_ADMISSION__PRIORITY_LEVELS=3", {"admission": {"priority_levels": 3}}),
    "default_queue_policy { default_timeout_microseconds: 500000 }": (
        "ONNICORN_ADMISSION__DEFAULT_TIMEOUT_MS=500",
        {"admission": {"default_timeout_ms": 500}},
    ),
    "default_queue_policy { max_queue_size: 16 }": (
        "ONNICORN_ADMISSION__MAX_WAITING=16",
        {"admission": {"max_waiting": 16}},
    ),
}


@pytest.mark.parametrize("text", SETTINGS)
def test_what_a_setting_says_is_given_as_its_variable_which_is_then_honoured(said: Any, text: str) -> None:
    line, settings = SETTINGS[text]
    text = f"dynamic_batching {{ {text} }}"
    _, (field, verdict, remark) = said(text)
    assert verdict == Verdict.DECLARE
    assert re.fullmatch(rf"set for the whole service: {re.escape(line)}(   #.*)?", remark)
    assert said(text, **settings)[-1] == (field, Verdict.HONOURED, "the settings say the same")


@pytest.mark.parametrize(
    "text",
    [
        "name: 'cat'",
        "platform: 'onnxruntime_onnx'",
        "backend: 'onnxruntime'",
        "default_model_filename: 'model.onnx'",
        "version_policy { latest { num_versions: 1 } }",
        "dynamic_batching { }",
        "instance_group { kind: KIND_CPU }",
        "instance_group { count: 1 }",
        "parameters { key: 'intra_op_thread_count' value { string_value: '0' } }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 3 ] }",
        "output { name: 'y' data_type: TYPE_STRING dims: 1 }",
    ],
)
def test_what_is_so_anyway_is_honoured(said: Any, text: str) -> None:
    assert [verdict for _, verdict, _ in said(text)] == [Verdict.HONOURED]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("platform: 'tensorrt_plan'", "platform"),
        ("backend: 'python'", "backend"),
        ("runtime: 'libx.so'", "runtime"),
        ("default_model_filename: 'net.onnx'", "default_model_filename"),
        ("input { name: 'x' reshape { shape: [ 1 ] } }", "input 'x' reshape"),
        ("sequence_batching { direct { } }", "sequence_batching"),
        ("ensemble_scheduling { step { } }", "ensemble_scheduling"),
        ("response_cache { enable: true }", "response_cache"),
        ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled"),
        ("instance_group { gpus: [ 0 ] }", "instance_group.gpus"),
        ("parameters { key: 'execution_mode' value { string_value: '1' } }", "parameters 'execution_mode'"),
        ("parameters { key: 'session.load_model_format' }", "parameters 'session.load_model_format'"),
        ("metric_tags { key: 'a' }", "metric_tags"),
        (
            "optimization { execution_accelerators { gpu_execution_accelerator { name: 'magic' } } }",
            "optimization.execution_accelerators 'magic'",
        ),
    ],
)
def test_what_is_not_supported_is_said(said: Any, text: str, field: str) -> None:
    assert [(name, verdict) for name, verdict, _ in said(text)] == [(field, Verdict.UNSUPPORTED)]


@pytest.mark.parametrize(
    ("text", "toml", "field"),
    [
        (
            "output { name: 'y' data_type: TYPE_STRING dims: 1 label_filename: 'l.txt' }",
            'labels.y = ["a"]',
            "output 'y' label_filename",
        ),
        (
            "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 3 ] allow_ragged_batch: true }",
            'padding.n = { inputs = { x = 0 }, mask = "m" }',
            "input 'x' allow_ragged_batch",
        ),
        ("version_policy { latest { num_versions: 2 } }", "versions = [1, 2]", "version_policy"),
    ],
)
def test_what_needs_more_than_a_line_is_described(said: Any, text: str, toml: str, field: str) -> None:
    *_, (name, verdict, _) = said(text)
    assert (name, verdict) == (field, Verdict.DECLARE)
    assert said(text, toml=toml)[-1] == (field, Verdict.HONOURED, "model.toml says the same")


@pytest.mark.parametrize(
    ("text", "verdict", "field"),
    [
        ("preserve_ordering: true", Verdict.HONOURED, "preserve_ordering"),
        ("default_priority_level: 2", Verdict.UNSUPPORTED, "default_priority_level"),
        ("default_queue_policy { timeout_action: DELAY }", Verdict.UNSUPPORTED, "default_queue_policy.timeout_action"),
        ("priority_queue_policy { key: 1 }", Verdict.UNSUPPORTED, "priority_queue_policy"),
    ],
)
def test_the_rest_of_dynamic_batching_is_answered_too(said: Any, text: str, verdict: Verdict, field: str) -> None:
    _, (name, got, _) = said(f"dynamic_batching {{ {text} }}")
    assert (name, got) == (f"dynamic_batching.{field}", verdict)


def test_a_shape_of_tritons_own_is_not_the_callers(said: Any) -> None:
    text = "input { name: 'x' format: FORMAT_NCHW dims: 3 reshape { shape: [ 1, 3 ] } }"
    assert said(text, SINGLE) == [
        ("input 'x' reshape", Verdict.UNSUPPORTED, "callers send and get the model's own shape, FP32[1,3]"),
        ("input 'x' format", Verdict.HONOURED, "a note for people: shapes are the model's own"),
    ]


def test_options_of_an_accelerator_are_not_passed_on(said: Any) -> None:
    text = "gpu_execution_accelerator { name: 'tensorrt' parameters { key: 'precision_mode' value: 'FP16' } }"
    _, (field, verdict, _) = said(f"optimization {{ execution_accelerators {{ {text} }} }}")
    assert (field, verdict) == ("optimization.execution_accelerators 'tensorrt' parameters", Verdict.UNSUPPORTED)


def test_what_is_off_needs_no_remark(said: Any) -> None:
    assert said("response_cache { enable: false } model_transaction_policy { decoupled: false }") == []


@pytest.mark.parametrize(
    ("text", "signature", "field", "sentence"),
    [
        ("name: 'kitty'", BATCHED, "name", "'kitty'; the model is served as 'cat', by its folder"),
        ("max_batch_size: 8", SINGLE, "max_batch_size", "8; the model's tensors have no free first dimension"),
        (
            "max_batch_size: 8 input { name: 'x' data_type: TYPE_FP16 dims: 3 }",
            BATCHED,
            "input 'x'",
            "FP16[-1,3]; the model has FP32[-1,3], which is what callers send and get",
        ),
        (
            "input { name: 'x' data_type: TYPE_FP32 dims: [ 1, 4 ] }",
            SINGLE,
            "input 'x'",
            "FP32[1,4]; the model has FP32[1,3], which is what callers send and get",
        ),
        (
            "input { name: 'x' data_type: TYPE_FP32 dims: [ 1, 3 ] } output { name: 'z' data_type: TYPE_BOOL }",
            SINGLE,
            "output 'z'",
            "BOOL[]; the model has none of that name",
        ),
        (
            "output { name: 'z' data_type: TYPE_BOOL }",
            BATCHED,
            "output 'y'",
            "not in config.pbtxt; the model has BYTES[-1]",
        ),
    ],
)
def test_where_the_model_is_another_one_it_is_said(
    said: Any, text: str, signature: Signature, field: str, sentence: str
) -> None:
    assert (field, Verdict.DIFFERS, sentence) in said(text, signature)


def test_a_model_that_cannot_be_loaded_is_not_compared(said: Any) -> None:
    text = "input { name: 'x' data_type: TYPE_FP16 optional: true allow_ragged_batch: true is_shape_tensor: true }"
    assert [(field, verdict) for field, verdict, _ in said(text, None)] == [
        ("input 'x' allow_ragged_batch", Verdict.DECLARE),
        ("input 'x' optional", Verdict.UNSUPPORTED),
        ("input 'x' is_shape_tensor", Verdict.UNSUPPORTED),
    ]
