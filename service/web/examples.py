"""Requests that work, for the documentation: made of what a model has run with before any caller came."""

from typing import Any, Final

import orjson

from service.engine.model import Model
from service.protocol.v2 import tensor_document
from service.tensors import Array, Tensors, TensorSpec

# A larger example would make the document unreadable; such a model's path has its schema only.
_MOST_ELEMENTS: Final = 4096
_MOST_BYTES: Final = 32 << 10


def example(model: Model) -> dict[str, Any] | None:
    """An inference request that the model has answered at warm-up; None where there is none of a readable size."""
    tensors = _readable(model)
    if tensors is None:
        return None
    specs = {spec.name: spec for spec in model.signature.inputs}
    inputs = [tensor_document(name, specs[name].datatype, tensor) for name, tensor in tensors.items()]
    # Through the codec, so that the document holds plain lists and not arrays.
    document: dict[str, Any] = orjson.loads(orjson.dumps({"inputs": inputs}, option=orjson.OPT_SERIALIZE_NUMPY))
    for tensor in document["inputs"]:
        tensor["data"] = _shortest(tensor["data"])
    return document


def typed_example(model: Model) -> dict[str, Any] | None:
    """The same for the typed endpoint, in the terms of the model's transform where it has one."""
    if model.transform:
        instances = model.transform.example()
        is_readable = instances and len(orjson.dumps(instances, default=str)) <= _MOST_BYTES
        return {"instances": instances} if is_readable else None
    tensors = _readable(model)
    if tensors is None:
        return None
    columns = {spec.name: _values(spec, tensors[spec.name]) for spec in model.signature.inputs}
    if not model.signature.batch:
        return {"inputs": columns}
    rows = zip(*columns.values(), strict=True)
    return {"instances": [dict(zip(columns, row, strict=True)) for row in rows]}


def _readable(model: Model) -> Tensors | None:
    tensors = model.example
    return tensors if tensors and sum(tensor.size for tensor in tensors.values()) <= _MOST_ELEMENTS else None


def _values(spec: TensorSpec, tensor: Array) -> Any:
    """What is last a dimension of 1 is left out, as in the schema."""
    return _shortest(tensor[..., 0].tolist() if spec.shape and spec.shape[-1] == 1 else tensor.tolist())


def _shortest(value: Any) -> Any:
    """16.0 reads better as 16, and means the same to every datatype."""
    if isinstance(value, list):
        return [_shortest(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
