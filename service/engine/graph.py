"""What a model file says of itself, read and edited without loading it.

ONNX Runtime tells a model's inputs and outputs, but not whether a rank is open, which files the weights lie in, or what
a ZipMap's keys are. Those stand in the file, which is a protobuf message (https://github.com/onnx/onnx,
onnx/onnx.proto3). Below is the part of that schema that we need; protobuf keeps the fields that are not in it, so a
model that was read and edited is written whole.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from service.engine.places import read
from service.errors import RepositoryError

# message -> (field, number, type), where a trailing * means repeated.
_SCHEMA: Final = {
    "Model": (
        ("ir_version", 1, "int64"),
        ("producer_name", 2, "string"),
        ("producer_version", 3, "string"),
        ("graph", 7, "Graph"),
        ("opset_import", 8, "Opset*"),
        ("functions", 25, "Function*"),
    ),
    "Opset": (("domain", 1, "string"), ("version", 2, "int64")),
    "Function": (("name", 1, "string"), ("node", 7, "Node*"), ("domain", 10, "string")),
    "Graph": (
        ("node", 1, "Node*"),
        ("initializer", 5, "Tensor*"),
        ("input", 11, "ValueInfo*"),
        ("output", 12, "ValueInfo*"),
        ("sparse_initializer", 15, "Sparse*"),
    ),
    "Node": (
        ("input", 1, "string*"),
        ("output", 2, "string*"),
        ("op_type", 4, "string"),
        ("attribute", 5, "Attribute*"),
        ("domain", 7, "string"),
    ),
    "Attribute": (
        ("name", 1, "string"),
        ("tensor", 5, "Tensor"),
        ("graph", 6, "Graph"),
        ("ints", 8, "int64*"),
        ("strings", 9, "bytes*"),
        ("tensors", 10, "Tensor*"),
        ("graphs", 11, "Graph*"),
        ("sparse_tensor", 22, "Sparse"),
        ("sparse_tensors", 23, "Sparse*"),
    ),
    "Sparse": (("values", 1, "Tensor"), ("indices", 2, "Tensor")),
    "Tensor": (("dims", 1, "int64*"), ("name", 8, "string"), ("external_data", 13, "Entry*")),
    "Entry": (("key", 1, "string"), ("value", 2, "string")),
    "ValueInfo": (("name", 1, "string"), ("type", 2, "Type")),
    "Type": (("tensor_type", 1, "TensorType"), ("sequence_type", 4, "SequenceType")),
    "TensorType": (("elem_type", 1, "int32"), ("shape", 2, "Shape")),
    "SequenceType": (("elem_type", 1, "Type"),),
    "Shape": (("dim", 1, "Dimension*"),),
    "Dimension": (("dim_value", 1, "int64"), ("dim_param", 2, "string")),
}
_FLOAT: Final = 1  # TensorProto.DataType.FLOAT
_MOST: Final = 2 << 30  # no protobuf message can be larger
# ONNX's domains, and those of ONNX Runtime's own operators.
_DOMAINS: Final = frozenset(
    {
        *("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.training", "ai.onnx.preview.training"),
        *("com.microsoft", "com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc"),
        "org.pytorch.aten",
    }
)
# What it holds, or names a file of, an execution provider loads and runs as it is.
_COMPILED: Final = "EPContext"
_SCALARS: Final = {"string": 9, "int64": 3, "int32": 5, "bytes": 12}  # FieldDescriptorProto.Type


@cache
def _model_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="service/engine/graph", package="onnx_part", syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for label, number, kind in fields:
            scalar = _SCALARS.get(kind.rstrip("*"))
            message.field.add(
                name=label,
                number=number,
                label=3 if kind.endswith("*") else 1,  # repeated, optional
                type=scalar or 11,  # 11 is a message
                type_name=None if scalar else f".onnx_part.{kind.rstrip('*')}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx_part.Model"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model file says that ONNX Runtime does not tell.

    `labels` are the keys of the maps in outputs that are ZipMaps; `open_ranks` are tensors without any shape;
    `operators` are the types of all nodes, those of inner graphs included; `foreign` those that neither ONNX Runtime
    nor the model itself defines, by their domain.
    """

    external_files: tuple[Path, ...] = ()
    open_ranks: frozenset[str] = frozenset()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    operators: frozenset[str] = frozenset()
    foreign: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """What people ask of a model file. `opsets` are by domain, `operators` by type with their number, those in inner
    graphs included; `parameters` are the elements of all weights.
    """

    ir_version: int
    producer: str
    opsets: dict[str, int]
    operators: dict[str, int]
    parameters: int


class Graph:
    """One parsed model file."""

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """`content` is the file's, where somebody has read it. Raises RepositoryError for one that is no ONNX model."""
        self.path = path
        self._model = _model_class()()
        try:
            self._model.ParseFromString(read(path, _MOST) if content is None else content)
        except DecodeError:
            raise RepositoryError(f"{path} is not an ONNX model: it cannot be parsed; export it again") from None
        if not self._model.HasField("graph"):
            raise RepositoryError(f"{path} is not an ONNX model: it has no graph; export it again")

    def facts(self) -> Facts:
        """Raises RepositoryError for weights that are missing, or elsewhere, and for code in place of a graph."""
        nodes = list(self._nodes())
        if any(node.op_type == _COMPILED for node in nodes):
            raise RepositoryError(f"{self.path} holds code that was compiled for a device: export it as a plain graph")
        return Facts(
            external_files=tuple(self._external_files()),
            open_ranks=frozenset(
                value.name
                for value in (*self._model.graph.input, *self._model.graph.output)
                if not value.type.tensor_type.HasField("shape")
            ),
            labels={output.name: _keys(node) for node, output in self._zipmaps()},
            operators=frozenset(node.op_type for node in nodes),
            foreign=self._foreign(nodes),
        )

    def summary(self) -> Summary:
        model = self._model
        nodes = list(self._nodes())
        counted = Counter(node.op_type for node in nodes)
        attributes = [attribute for node in nodes for attribute in node.attribute]
        inner = [graph for attribute in attributes for graph in (attribute.graph, *attribute.graphs)]
        weights = [tensor for graph in (model.graph, *inner) for tensor in _weights(graph)]
        return Summary(
            ir_version=model.ir_version,
            producer=f"{model.producer_name} {model.producer_version}".strip(),
            opsets={opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
            operators=dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))),
            parameters=sum(prod(tensor.dims) for tensor in weights),
        )

    def without_zipmaps(self) -> bytes:
        """The model with each ZipMap turned into an Identity: its output is the tensor FP32 [-1, keys] that went in."""
        for node, output in self._zipmaps():
            size = len(_keys(node))
            node.op_type, node.domain = "Identity", ""
            del node.attribute[:]
            # The element type changes from a sequence of maps to a plain tensor.
            output.type.Clear()
            output.type.tensor_type.elem_type = _FLOAT
            output.type.tensor_type.shape.dim.add()
            output.type.tensor_type.shape.dim.add(dim_value=size)
        return bytes(self._model.SerializeToString())

    def _zipmaps(self) -> list[tuple[Any, Any]]:
        """Each ZipMap whose maps are an output of the model, with that output."""
        outputs = {output.name: output for output in self._model.graph.output}
        nodes = [node for node in self._model.graph.node if node.op_type == "ZipMap"]
        return [(node, outputs[node.output[0]]) for node in nodes if node.output[0] in outputs]

    def _external_files(self) -> Iterator[Path]:
        names = {entry.value for tensor in self._tensors() for entry in tensor.external_data if entry.key == "location"}
        for name in sorted(names):
            yield self._external_file(name)

    def _external_file(self, name: str) -> Path:
        location = PurePosixPath(name)
        # An asterisk in front is ONNX Runtime's mark for an address in memory in place of a file.
        if location.is_absolute() or ".." in location.parts or "\0" in name or name.startswith("*"):
            raise RepositoryError(f"{self.path} keeps weights in {name!r}: expected a file beside the model")
        file = self.path.parent / location
        if not file.is_file():
            raise RepositoryError(f"{self.path} keeps weights in {name!r}, which is missing: copy it beside the model")
        real = os.path.realpath(file)
        if not Path(real).is_relative_to(os.path.realpath(self.path.parent)):
            raise RepositoryError(
                f"{self.path} keeps weights in {name!r}, a link that leads out of the model's folder to {real}, where "
                "ONNX Runtime does not follow it: copy the file there"
            )
        return file

    def _foreign(self, nodes: Iterable[Any]) -> dict[str, tuple[str, ...]]:
        own = {(function.domain, function.name) for function in self._model.functions}
        found: dict[str, set[str]] = {}
        for node in nodes:
            if node.domain not in _DOMAINS and (node.domain, node.op_type) not in own:
                found.setdefault(node.domain, set()).add(node.op_type)
        return {domain: tuple(sorted(operators)) for domain, operators in sorted(found.items())}

    def _nodes(self) -> Iterator[Any]:
        """Every node, those of inner graphs and of the model's own functions included."""
        yield from _nodes(self._model.graph.node)
        for function in self._model.functions:
            yield from _nodes(function.node)

    def _tensors(self) -> Iterator[Any]:
        """Every constant, those in attributes included."""
        yield from _weights(self._model.graph)
        for node in self._nodes():
            for attribute in node.attribute:
                yield from (attribute.tensor, *attribute.tensors)
                yield from _parts(attribute.sparse_tensor, *attribute.sparse_tensors)
                for inner in (attribute.graph, *attribute.graphs):
                    yield from _weights(inner)


def _keys(zipmap: Any) -> tuple[str, ...]:
    return tuple(
        key.decode() if isinstance(key, bytes) else str(key)
        for attribute in zipmap.attribute
        for key in (*attribute.strings, *attribute.ints)
    )


def _nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """Nodes and those of the graphs inside them: the branches of an If, the body of a Loop."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.graph, *attribute.graphs):
                yield from _nodes(inner.node)


def _weights(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    yield from _parts(*graph.sparse_initializer)


def _parts(*sparse: Any) -> Iterator[Any]:
    """A sparse tensor is made of two plain ones."""
    for each in sparse:
        yield from (each.values, each.indices)
