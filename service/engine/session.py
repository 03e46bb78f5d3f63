"""An ONNX Runtime session with its signature; `run(tensors) -> tensors`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from service.engine import operators
from service.engine.declaration import SessionOptions
from service.engine.graph import Facts, Graph
from service.errors import RepositoryError
from service.tensors import FREE, Array, Datatype, Signature, Tensors, TensorSpec

# ONNX Runtime prints to standard error past every formatter, and raises the same text as an exception. 4 is "fatal".
_SILENT: Final = 4
ort.set_default_logger_severity(_SILENT)

_DATATYPES: Final = {
    "bool": Datatype.BOOL,
    "uint8": Datatype.UINT8,
    "uint16": Datatype.UINT16,
    "uint32": Datatype.UINT32,
    "uint64": Datatype.UINT64,
    "int8": Datatype.INT8,
    "int16": Datatype.INT16,
    "int32": Datatype.INT32,
    "int64": Datatype.INT64,
    "float16": Datatype.FP16,
    "float": Datatype.FP32,
    "double": Datatype.FP64,
    "string": Datatype.BYTES,
}
_LEVELS: Final = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


@dataclass(frozen=True, slots=True)
class Compute:
    """What a session may use of the machine: threads inside one operator, whether they may spin, providers.

    `custom_operators` are the libraries that a model may ask for.
    """

    intra_op_threads: int = 1
    spinning: bool = False
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    custom_operators: tuple[str, ...] = ()

    def is_one_cpu_thread(self, declared_threads: int | None) -> bool:
        return self.providers == ("CPUExecutionProvider",) and (declared_threads or self.intra_op_threads) == 1

    def preferring(self, providers: tuple[str, ...]) -> "Compute":
        """The same with the model's own providers, if it declares some."""
        return replace(self, providers=providers) if providers else self


class Session:
    """One loaded model file. Created after the fork only: its threads would not survive one."""

    def __init__(
        self, path: Path, facts: Facts, options: ort.SessionOptions, providers: tuple[str, ...], prepared: bool = False
    ) -> None:
        """`facts` are those of the original file, of which `path` may be the prepared form.

        Raises RepositoryError with what is wrong and how to fix it.
        """
        _check_providers(providers)
        # A list of maps is no tensor, what went into it is: a model with ZipMaps is loaded without them.
        content = Graph(path).without_zipmaps() if facts.labels and not prepared else str(path)
        try:
            self._session = ort.InferenceSession(content, options, list(providers))
        # The binding has no common root for its errors below Exception.
        except Exception as error:
            raise RepositoryError(_why_not(path, facts, error)) from error
        # Not the Python class's own method, which looks at names and devices again: a fifth of a small model's run.
        self._run: Callable[..., list[Array]] = self._session._sess.run
        self.signature = Signature(
            tuple(_spec(path, "input", argument, facts) for argument in self._session.get_inputs()),
            tuple(_spec(path, "output", argument, facts) for argument in self._session.get_outputs()),
        )

    @property
    def providers(self) -> list[str]:
        """Those that ONNX Runtime runs it on, the preferred first."""
        return list(self._session.get_providers())

    def run(self, tensors: Tensors, outputs: Sequence[str], options: ort.RunOptions | None = None) -> list[Array]:
        """One inference; the outputs in the order asked for. ONNX Runtime's own exceptions pass through."""
        return self._run(outputs, tensors, options)


def session_options(path: Path, options: SessionOptions, compute: Compute) -> ort.SessionOptions:
    """ONNX Runtime's form of what `model.toml` and the plan say. Raises RepositoryError."""
    result = ort.SessionOptions()
    result.intra_op_num_threads = options.intra_op_threads or compute.intra_op_threads
    result.inter_op_num_threads = 1
    result.log_severity_level = _SILENT
    result.graph_optimization_level = _LEVELS[options.graph_optimization]
    if not compute.spinning:
        result.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # An edited model is loaded from memory; its external weights still lie beside the file.
    result.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    for key, value in options.config.items():
        result.add_session_config_entry(key, value)
    operators.register(result, operators.libraries(options, compute.custom_operators))
    return result


def _why_not(path: Path, facts: Facts, error: Exception) -> str:
    if not facts.foreign:
        return f"{path} cannot be loaded by ONNX Runtime: {_one_line(error)}"
    names = "; ".join(f"{', '.join(types)} of domain {domain!r}" for domain, types in facts.foreign.items())
    return (
        f"{path} uses operators that are not ONNX Runtime's own: {names}; name their library in model.toml, "
        f"[session] custom_operators, and in ONNICORN_RUNTIME__CUSTOM_OPERATORS ({_one_line(error)})"
    )


def _check_providers(providers: tuple[str, ...]) -> None:
    available = ort.get_available_providers()
    if missing := [provider for provider in providers if provider not in available]:
        raise RepositoryError(
            f"execution provider {missing[0]} is not in this build of ONNX Runtime, which has {', '.join(available)}: "
            "change ONNICORN_RUNTIME__PROVIDERS or the model's providers, or install another onnxruntime package"
        )


def _spec(path: Path, kind: str, argument: Any, facts: Facts) -> TensorSpec:
    """One input or output as ONNX Runtime describes it: `tensor(float)`, [None, 'batch', 64].

    It reports a scalar and an open rank alike, as []; the file tells them apart.
    """
    element = argument.type.removeprefix("tensor(").removesuffix(")")
    if f"tensor({element})" != argument.type or element not in _DATATYPES:
        raise RepositoryError(
            f"{path}: {kind} {argument.name!r} is a {argument.type}, which cannot be served: "
            f"expected a tensor of {', '.join(_DATATYPES)}; export the model with a Cast or without that {kind}"
        )
    fixed = tuple(size if isinstance(size, int) and size >= 0 else FREE for size in argument.shape)
    return TensorSpec(
        name=argument.name,
        datatype=_DATATYPES[element],
        shape=None if not fixed and argument.name in facts.open_ranks else fixed,
        names=tuple(size if isinstance(size, str) else "" for size in argument.shape),
        labels=facts.labels.get(argument.name, ()),
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
