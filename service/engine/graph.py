"""What a model file says of itself, read and edited without loading it.

ONNX Runtime tells a model's inputs and outputs, but not whether a rank is open, which files the weights lie in, or what
a ZipMap's keys are. Those stand in the file, which is a protobuf message (https://github.com/onnx/onnx,
onnx/onnx.proto3). Below is the part of that schema that we need; protobuf keeps the fields that are not in it, so a
model that was read and edited is written whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from service.errors import RepositoryError

# message -> (field, number, type), where a trailing * means repeated.
_SCHEMA: Final = {
    "Model": (("graph", 7, "Graph"),),
    "Graph": (
        ("node", 1, "Node*"),
        ("initializer", 5, "Tensor*"),
        ("input", 11, "ValueInfo*"),
        ("output", 12, "ValueInfo*"),
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
        ("graphs", 11, "Graph*"),
    ),
    "Tensor": (("name", 8, "string"), ("external_data", 13, "Entry*")),
    "Entry": (("key", 1, "string"), ("value", 2, "string")),
    "ValueInfo": (("name", 1, "string"), ("type", 2, "Type")),
    "Type": (("tensor_type", 1, "TensorType"), ("sequence_type", 4, "SequenceType")),
    "TensorType": (("elem_type", 1, "int32"), ("shape", 2, "Shape")),
    "SequenceType": (("elem_type", 1, "Type"),),
    "Shape": (("dim", 1, "Dimension*"),),
    "Dimension": (("dim_value", 1, "int64"), ("dim_param", 2, "string")),
}
_FLOAT: Final = 1  # TensorProto.DataType.FLOAT
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
    `operators` are the types of all nodes, those of inner graphs included.
    """

    external_files: tuple[Path, ...] = ()
    open_ranks: frozenset[str] = frozenset()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    operators: frozenset[str] = frozenset()


class Graph:
    """One parsed model file."""

    def __init__(self, path: Path) -> None:
        """Raises RepositoryError for a file that is not an ONNX model."""
        self.path = path
        self._model = _model_class()()
        try:
            self._model.ParseFromString(path.read_bytes())
        except DecodeError:
            raise RepositoryError(f"{path} is not an ONNX model: it cannot be parsed; export it again") from None
        except OSError as error:
            raise RepositoryError(f"{path} cannot be read: {error.strerror}") from None
        if not self._model.HasField("graph"):
            raise RepositoryError(f"{path} is not an ONNX model: it has no graph; export it again")

    def facts(self) -> Facts:
        """Raises RepositoryError for weights that are missing."""
        return Facts(
            external_files=tuple(self._external_files()),
            open_ranks=frozenset(
                value.name
                for value in (*self._model.graph.input, *self._model.graph.output)
                if not value.type.tensor_type.HasField("shape")
            ),
            labels={output.name: _keys(node) for node, output in self._zipmaps()},
            operators=frozenset(node.op_type for node in _nodes(self._model.graph)),
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
        names = {
            entry.value
            for tensor in _tensors(self._model.graph)
            for entry in tensor.external_data
            if entry.key == "location"
        }
        for name in sorted(names):
            yield self._external_file(name)

    def _external_file(self, name: str) -> Path:
        location = PurePosixPath(name)
        if location.is_absolute() or ".." in location.parts:
            raise RepositoryError(f"{self.path} keeps weights in {name!r}: expected a file beside the model")
        file = self.path.parent / location
        if not file.is_file():
            raise RepositoryError(f"{self.path} keeps weights in {name!r}, which is missing: copy it beside the model")
        return file


def _keys(zipmap: Any) -> tuple[str, ...]:
    return tuple(
        key.decode() if isinstance(key, bytes) else str(key)
        for attribute in zipmap.attribute
        for key in (*attribute.strings, *attribute.ints)
    )


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and the graphs inside its nodes: the branches of an If, the body of a Loop."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.graph, *attribute.graphs):
                yield from _graphs(inner)


def _nodes(graph: Any) -> Iterator[Any]:
    for inner in _graphs(graph):
        yield from inner.node


def _tensors(graph: Any) -> Iterator[Any]:
    """Every constant, those in attributes included."""
    for inner in _graphs(graph):
        yield from inner.initializer
    for node in _nodes(graph):
        for attribute in node.attribute:
            yield attribute.tensor
