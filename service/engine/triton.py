"""What becomes of each thing that a Triton `config.pbtxt` sets: honoured, said in another place, or not supported.

The file itself changes nothing. Sources of what its fields mean: triton-inference-server/server,
docs/user_guide/model_configuration.md; onnxruntime_backend, README.md.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from service.engine.config import HARMLESS
from service.engine.declaration import Declaration
from service.knobs import Admission, Batching
from service.tensors import FREE, Signature, TensorSpec


class Verdict(StrEnum):
    """`DECLARE`: another line says the same. `DIFFERS`: the model's file says something else, and that counts."""

    HONOURED = "honoured"
    DECLARE = "to be declared"
    UNSUPPORTED = "not supported"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Remark:
    """About one field; `text` says why, or what to write."""

    field: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Served:
    """What the configuration is held against. `signature` is None where the model could not be loaded."""

    name: str
    declaration: Declaration
    signature: Signature | None
    batching: Batching
    admission: Admission


Rule = Callable[[Any, Served], Iterator[Remark]]


def remarks(config: Any, unknown: list[str], served: Served) -> list[Remark]:
    """About every field that is set; `config` and `unknown` are as `pbtxt.read` returns them."""
    said = [remark for rule in _RULES for remark in rule(config, served)]
    return [*said, *(_unsupported(field, "unknown to this check, and without effect") for field in unknown)]


def _honoured(field: str, text: str) -> Remark:
    return Remark(field, Verdict.HONOURED, text)


def _unsupported(field: str, text: str) -> Remark:
    return Remark(field, Verdict.UNSUPPORTED, text)


def _declared(field: str, is_declared: bool, line: str) -> Remark:
    """`line` is for model.toml, which may have it already."""
    if is_declared:
        return _honoured(field, "model.toml says the same")
    return Remark(field, Verdict.DECLARE, f"write into model.toml: {line}")


def _set(field: str, is_set: bool, line: str) -> Remark:
    """`line` is a setting of the whole service."""
    if is_set:
        return _honoured(field, "the settings say the same")
    return Remark(field, Verdict.DECLARE, f"set for the whole service: {line}")


def _identity(config: Any, served: Served) -> Iterator[Remark]:
    if config.name and config.name != served.name:
        yield Remark("name", Verdict.DIFFERS, f"{config.name!r}; the model is served as {served.name!r}, by its folder")
    elif config.name:
        yield _honoured("name", f"the model is served as {served.name!r}")
    for field, expected, remedy in (
        ("platform", "onnxruntime_onnx", "only ONNX models are served; export it"),
        ("backend", "onnxruntime", "only ONNX models are served; export it"),
        ("default_model_filename", "model.onnx", "rename the file to model.onnx in each version's folder"),
    ):
        if given := getattr(config, field):
            is_ours = given == expected
            yield _honoured(field, given) if is_ours else _unsupported(field, f"{given!r}: {remedy}")
    if config.runtime:
        yield _unsupported("runtime", "the backend is ONNX Runtime, which is built in")


def _batch_size(config: Any, served: Served) -> Iterator[Remark]:
    if not config.HasField("max_batch_size"):
        return
    rows, declared = config.max_batch_size, served.declaration
    has_axis = served.signature is None or served.signature.batch
    if not rows:
        yield _declared("max_batch_size", not declared.batch or not has_axis, "batch = false")
    elif not has_axis and declared.batch:
        yield Remark("max_batch_size", Verdict.DIFFERS, f"{rows}; the model's tensors have no free first dimension")
    else:
        yield _declared("max_batch_size", declared.limits.max_rows == rows, f"limits.max_rows = {rows}")


def _tensors(config: Any, served: Served) -> Iterator[Remark]:
    for side in ("input", "output"):
        specs = None
        if served.signature:
            found = served.signature.inputs if side == "input" else served.signature.outputs
            specs = {spec.name: spec for spec in found}
        for tensor in getattr(config, side):
            field = f"{side} {tensor.name!r}"
            if tensor.HasField("reshape"):
                own = f", {specs[tensor.name]}" if specs and tensor.name in specs else ""
                yield _unsupported(f"{field} reshape", f"callers send and get the model's own shape{own}")
            elif specs is not None:
                yield _compared(field, tensor, specs.get(tensor.name), config.max_batch_size > 0)
            yield from _tensor_options(field, tensor, served.declaration)
        if specs and getattr(config, side):
            for name in specs.keys() - {tensor.name for tensor in getattr(config, side)}:
                yield Remark(f"{side} {name!r}", Verdict.DIFFERS, f"not in config.pbtxt; the model has {specs[name]}")


def _compared(field: str, tensor: Any, spec: TensorSpec | None, batched: bool) -> Remark:
    datatype = _kind(tensor, "data_type").removeprefix("TYPE_").replace("STRING", "BYTES")
    dims = [*([FREE] if batched else []), *tensor.dims]
    given = f"{datatype}[{','.join(map(str, dims))}]"
    if spec is None:
        return Remark(field, Verdict.DIFFERS, f"{given}; the model has none of that name")
    if datatype == spec.datatype.name and _fits(dims, spec):
        return _honoured(field, f"the model has {spec}")
    return Remark(field, Verdict.DIFFERS, f"{given}; the model has {spec}, which is what callers send and get")


def _fits(dims: list[int], spec: TensorSpec) -> bool:
    """A dimension that the model leaves free may be fixed by who wrote the configuration."""
    if spec.shape is None:
        return True
    return len(dims) == len(spec.shape) and all(
        FREE in (given, size) or given == size for given, size in zip(dims, spec.shape, strict=True)
    )


def _tensor_options(field: str, tensor: Any, declared: Declaration) -> Iterator[Remark]:
    if getattr(tensor, "label_filename", ""):
        line = f"labels.{tensor.name} = [the lines of {tensor.label_filename}, quoted, with commas between them]"
        yield _declared(f"{field} label_filename", tensor.name in declared.labels, line)
    if getattr(tensor, "allow_ragged_batch", False):
        line = "a table [padding.<the axis>], which says with what to fill it and which input is the mask"
        yield _declared(f"{field} allow_ragged_batch", bool(declared.padding), line)
    if getattr(tensor, "optional", False):
        yield _unsupported(f"{field} optional", "callers send every input that the model has")
    if tensor.is_shape_tensor:
        yield _unsupported(f"{field} is_shape_tensor", "ONNX models have no shape tensors")
    if getattr(tensor, "format", 0):
        yield _honoured(f"{field} format", "a note for people: shapes are the model's own")


def _versions(config: Any, served: Served) -> Iterator[Remark]:
    if not config.HasField("version_policy"):
        return
    policy, declared = config.version_policy, served.declaration.versions
    if policy.HasField("all"):
        yield _declared("version_policy", declared == "all", 'versions = "all"')
    elif policy.HasField("specific"):
        numbers = sorted(policy.specific.versions)
        yield _declared("version_policy", list(declared) == numbers, f"versions = {numbers}")
    elif policy.latest.num_versions > 1:
        line = f"versions = [the newest {policy.latest.num_versions}]"
        yield _declared("version_policy", not isinstance(declared, str), line)
    else:
        yield _declared("version_policy", declared == "latest", 'versions = "latest"')


def _dynamic_batching(config: Any, served: Served) -> Iterator[Remark]:
    if not config.HasField("dynamic_batching"):
        return
    given, field = config.dynamic_batching, "dynamic_batching"
    yield _honoured(field, "requests that wait together run together wherever the model allows it")
    if sizes := list(given.preferred_batch_size):
        line = f"limits.batch_rows = {max(sizes)}   # or leave it out: warm-up measures how many rows pay"
        yield _declared(f"{field}.preferred_batch_size", served.declaration.limits.batch_rows == max(sizes), line)
    if given.HasField("max_queue_delay_microseconds"):
        delay = given.max_queue_delay_microseconds / 1000
        line = f"ONNICORN_BATCHING__LINGER_MS={delay:g}   # or leave it: while a batch runs, the next one fills"
        yield _set(f"{field}.max_queue_delay_microseconds", served.batching.linger_ms == delay, line)
    if given.preserve_ordering:
        yield _honoured(f"{field}.preserve_ordering", "over HTTP each answer belongs to its request")
    if levels := given.priority_levels:
        line = f"ONNICORN_ADMISSION__PRIORITY_LEVELS={levels}"
        yield _set(f"{field}.priority_levels", served.admission.priority_levels == levels, line)
    if given.default_priority_level:
        yield _unsupported(f"{field}.default_priority_level", "it is the middle one")
    yield from _queue_policy(given, served.admission)


def _queue_policy(given: Any, admission: Admission) -> Iterator[Remark]:
    policy, field = given.default_queue_policy, "dynamic_batching.default_queue_policy"
    if milliseconds := policy.default_timeout_microseconds / 1000:
        line = f"ONNICORN_ADMISSION__DEFAULT_TIMEOUT_MS={milliseconds:g}"
        yield _set(f"{field}.default_timeout_microseconds", admission.default_timeout_ms == milliseconds, line)
    if size := policy.max_queue_size:
        line = f"ONNICORN_ADMISSION__MAX_WAITING={size}"
        yield _set(f"{field}.max_queue_size", admission.max_waiting == size, line)
    if _kind(policy, "timeout_action") == "DELAY":
        yield _unsupported(f"{field}.timeout_action", "a request whose timeout has passed is refused")
    if given.priority_queue_policy:
        yield _unsupported("dynamic_batching.priority_queue_policy", "all levels have one policy")


def _other_schedulers(config: Any, served: Served) -> Iterator[Remark]:
    for field, text in (
        ("sequence_batching", "nothing is kept from one request for the next: send state as an input"),
        ("ensemble_scheduling", "put the steps into a transform.py, or into one ONNX graph"),
    ):
        if config.HasField(field):
            yield _unsupported(field, text)
    if config.model_transaction_policy.decoupled:
        yield _unsupported("model_transaction_policy.decoupled", "each request has one answer")
    if config.response_cache.enable:
        yield _unsupported("response_cache", "put a cache in front of the service")


def _instances(config: Any, served: Served) -> Iterator[Remark]:
    declared = served.declaration
    for group in config.instance_group:
        if group.count > 1:
            line = f"run_threads = {group.count}   # in each worker; or ONNICORN_RUNTIME__WORKERS={group.count}"
            yield _declared("instance_group.count", declared.run_threads == group.count, line)
        if _kind(group, "kind") == "KIND_GPU":
            line = 'providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]'
            yield _declared("instance_group.kind", "CUDAExecutionProvider" in declared.providers, line)
        elif group.HasField("kind") or group.count == 1:
            yield _honoured("instance_group", "each worker has the model")
        if group.gpus:
            yield _unsupported("instance_group.gpus", "say which GPU with CUDA_VISIBLE_DEVICES")


def _optimization(config: Any, served: Served) -> Iterator[Remark]:
    session = served.declaration.session
    if config.optimization.HasField("graph"):
        level = _LEVELS.get(config.optimization.graph.level, "all")
        line = f'session.graph_optimization = "{level}"'
        yield _declared("optimization.graph", session.graph_optimization == level, line)
    accelerators = config.optimization.execution_accelerators
    for each in (*accelerators.gpu_execution_accelerator, *accelerators.cpu_execution_accelerator):
        field = f"optimization.execution_accelerators {each.name!r}"
        if provider := _PROVIDERS.get(each.name):
            line = f'providers = ["{provider}", "CPUExecutionProvider"]'
            yield _declared(field, provider in served.declaration.providers, line)
        else:
            yield _unsupported(field, "it is none of ONNX Runtime's that are known here")
        if each.parameters:
            yield _unsupported(f"{field} parameters", "options of execution providers cannot be set")


def _parameters(config: Any, served: Served) -> Iterator[Remark]:
    session = served.declaration.session
    for each in config.parameters:
        field, value = f"parameters {each.key!r}", each.value.string_value
        if each.key == "intra_op_thread_count" and value.isdecimal():
            line = f"session.intra_op_threads = {value}"
            yield _declared(field, value == "0" or str(session.intra_op_threads) == value, line)
        elif each.key in HARMLESS:
            line = f'session.config."{each.key}" = "{value}"'
            yield _declared(field, session.config.get(each.key) == value, line)
        else:
            yield _unsupported(field, "it is not passed on to ONNX Runtime")


def _warm_up(config: Any, served: Served) -> Iterator[Remark]:
    for sample in config.model_warmup:
        rows = [sample.batch_size] if config.max_batch_size and sample.batch_size else []
        shapes = {each.key: [*rows, *each.value.dims] for each in sample.inputs}
        inputs = ", ".join(f'"{name}" = {{ shape = {shape} }}' for name, shape in shapes.items())
        declared = [{name: list(given.shape) for name, given in each.items()} for each in served.declaration.warm_up]
        yield _declared(f"model_warmup {sample.name!r}", shapes in declared, f"warm_up = [{{ {inputs} }}]")


def _kind(message: Any, field: str) -> str:
    """The name of an enum's value."""
    kinds = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(kinds[getattr(message, field)].name)


_LEVELS: Final = {-1: "basic", 1: "extended", 2: "disabled"}
_PROVIDERS: Final = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_RULES: Final[tuple[Rule, ...]] = (
    *(_identity, _batch_size, _tensors, _versions, _dynamic_batching, _other_schedulers),
    *(_instances, _optimization, _parameters, _warm_up),
)
