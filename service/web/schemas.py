"""What an inference reads and writes, as JSON Schema: headers, parameters, and the tensors of a signature."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from service.protocol.classification import has_classes
from service.tensors import Datatype, Signature, TensorSpec, limits_of
from service.web import timeouts
from service.web.components import Names


def _milliseconds(name: str, whose: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": f"^{timeouts.MILLISECONDS.pattern.decode()}$"}
    return {"name": name, "in": "header", "description": f"{whose}, in milliseconds; 0 for none.", "schema": schema}


TIMEOUTS: Final = [
    _milliseconds("X-Request-Timeout-Ms", "How long the caller waits"),
    _milliseconds("x-envoy-expected-rq-timeout-ms", "How long Envoy waits"),
    {
        "name": "grpc-timeout",
        "in": "header",
        "description": "How long a gRPC caller waits.",
        "schema": {"type": "string", "pattern": f"^{timeouts.GRPC.pattern.decode()}$"},
    },
]
HEADERS: Final = [
    *TIMEOUTS,
    {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "The bytes of JSON in front of binary tensors; 0 where the body is the one input itself.",
        "schema": {"type": "integer", "minimum": 0},
    },
]
_BOOLEAN: Final = {"type": "boolean"}
_PARAMETERS: Final = {
    "type": "object",
    "properties": {
        "timeout": {"type": "integer", "minimum": 0, "description": "In microseconds; 0 for none."},
        "priority": {"type": "integer", "minimum": 0, "description": "A level, of which 1 runs first; 0 says nothing."},
        "allow_fallback": _BOOLEAN | {"description": "Where the model is overloaded, its smaller one may answer."},
        "binary_data_output": _BOOLEAN | {"description": "Answer with binary tensors."},
    },
}
_OF_AN_OUTPUT: Final = {
    "type": "object",
    "properties": {
        "binary_data": _BOOLEAN | {"description": "Answer with this one as a binary tensor, or not."},
        "classification": {
            "type": "integer",
            "minimum": 0,
            "description": "Answer with so many of its greatest numbers, as `value:index:label`; 0 for all of them.",
        },
    },
}
_ANSWERED: Final = {
    "type": "object",
    "properties": {
        "fallback_for": {"type": "string", "description": "The model asked for, where its smaller one has answered."}
    },
}


def request(signature: Signature) -> dict[str, Any]:
    """What a model takes."""
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "description": "Comes back in the answer."},
            "parameters": _PARAMETERS,
            "inputs": _tensors(signature.inputs, _element),
            "outputs": {
                "type": "array",
                "description": "The outputs to answer with, all of them by default.",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"enum": signature.output_names}, "parameters": _OF_AN_OUTPUT},
                },
            },
        },
    }


def response(signature: Signature) -> dict[str, Any]:
    """What a model answers."""
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["model_name", "model_version", "id", "outputs"],
        "properties": {
            "model_name": text,
            "model_version": text,
            "id": text,
            "outputs": _answers(signature.outputs),
            "parameters": _ANSWERED,
        },
    }


def _tensors(specs: Sequence[TensorSpec], element: Callable[[Datatype], dict[str, Any]]) -> dict[str, Any]:
    if not specs:
        return {"type": "array", "items": {}, "maxItems": 0}
    titles = Names(["classes"])
    tensors = [_tensor(spec, titles.take(spec.name), element(spec.datatype)) for spec in specs]
    return {"type": "array", "items": {"anyOf": tensors}}


def _answers(specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """The outputs as they are, and as their classes."""
    tensors = _tensors(specs, _answered)
    if names := [spec.name for spec in specs if has_classes(spec)]:
        tensors["items"]["anyOf"].append(_classes(names))
    return tensors


def _classes(names: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "title": "classes",
        "description": "In place of an output's numbers, where `classification` is asked for.",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"enum": names},
            "datatype": {"const": Datatype.BYTES.name},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array", "items": {"type": "string"}},
        },
    }


def _tensor(spec: TensorSpec, title: str, element: dict[str, Any]) -> dict[str, Any]:
    labels = f"; the last axis is {', '.join(spec.labels)}" if spec.labels else ""
    return {
        "type": "object",
        "title": title,
        "description": f"{spec}{labels}",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.datatype.name},
            "shape": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "description": f"{spec.public_shape}, where -1 stands for any size",
            },
            "data": {
                "type": "array",
                "items": element,
                "description": "Flat and row-major, or nested.",
            },
        },
    }


def _element(datatype: Datatype) -> dict[str, Any]:
    if datatype is Datatype.BYTES:
        return {"type": "string"}
    if datatype is Datatype.BOOL:
        return {"type": "boolean"}
    if not datatype.is_integer:
        return {"type": "number"}
    low, high = limits_of(datatype)
    return {"type": "integer", "minimum": low, "maximum": high}


def _answered(datatype: Datatype) -> dict[str, Any]:
    """JSON has no NaN and no infinities: they are null."""
    return {"type": ["number", "null"]} if datatype.is_float else _element(datatype)
