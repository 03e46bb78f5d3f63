"""Tensors as the nested values of JSON that people write: for a codec that knows numpy arrays."""

from typing import Any, Final

import orjson

from service import elements
from service.tensors import Array

_NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY


def nested(tensor: Array) -> Any:
    """A tensor's elements in a form that the JSON codec writes: `null` where a number is not finite.

    Many are written here already, a chunk at a time: the codec itself would keep all other threads waiting.
    """
    if not tensor.ndim:
        return _columned(tensor.reshape(1))[0]
    if tensor.size > elements.CHUNK:
        return _chunks(tensor)
    if tensor.dtype.hasobject:
        return tensor.tolist()
    return tensor if tensor.flags.c_contiguous else tensor.copy()


def _chunks(tensor: Array) -> list[Any]:
    """The codec puts commas between them."""
    if tensor.ndim == 1:
        chunks: list[Any] = elements.encode(tensor)
        return chunks
    together = elements.CHUNK // (tensor.size // len(tensor))
    if not together:
        return [nested(row) for row in tensor]
    return [_fragment(nested(tensor[start : start + together])) for start in range(0, len(tensor), together)]


def rows(names: list[str], tensors: list[Array]) -> list[Any]:
    """Objects by the names of the outputs; where they are many, so many are written together."""
    count = len(tensors[0])
    together = max(1, elements.CHUNK * count // max(1, sum(tensor.size for tensor in tensors)))
    if count <= together:
        return _few_rows(names, tensors)
    return [
        _fragment(_few_rows(names, [tensor[start : start + together] for tensor in tensors]))
        for start in range(0, count, together)
    ]


def _few_rows(names: list[str], tensors: list[Array]) -> list[Any]:
    return [dict(zip(names, row, strict=True)) for row in zip(*map(_columned, tensors), strict=True)]


def _columned(tensor: Array) -> list[Any]:
    """A row each. Floats stay numpy's, which are written with no more digits than they have."""
    if tensor.ndim > 1:
        return [nested(row) for row in tensor]
    return list(tensor) if tensor.dtype.kind == "f" else tensor.tolist()


def _fragment(values: Any) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(values, option=_NUMPY)[1:-1])
