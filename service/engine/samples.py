"""What to run a model with before any caller does: recorded samples of what comes out for what, and made-up inputs."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from service import elements
from service.engine import places
from service.errors import MalformedRequest, RepositoryError
from service.tensors import DATATYPES, FREE, Array, Datatype, Signature, TensorSpec

_MOST: Final = 128 << 20


@dataclass(frozen=True, slots=True)
class Golden:
    """A recorded sample of a model: what went in, what must come out, within a tolerance, absolute and relative."""

    file: Path
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    tolerance: float
    digest: str = ""

    def difference(self, got: dict[str, Array]) -> str | None:
        """A sentence about the first output that is not as recorded; None where all are."""
        for name, wanted in self.outputs.items():
            if reason := self._output_difference(wanted, got[name]):
                return f"golden sample {self.file}: output {name!r} {reason}"
        return None

    def _output_difference(self, wanted: Array, got: Array) -> str | None:
        if wanted.dtype != got.dtype or wanted.shape != got.shape:
            return f"was recorded as {wanted.dtype}{list(wanted.shape)}, is {got.dtype}{list(got.shape)} now"
        if wanted.dtype.kind != "f":
            return None if np.array_equal(wanted, got) else "differs from the recorded one"
        if np.allclose(got, wanted, rtol=self.tolerance, atol=self.tolerance, equal_nan=True):
            return None
        return f"differs by up to {np.abs(got - wanted).max():.3g}; the tolerance is {self.tolerance:g}"


@dataclass(frozen=True, slots=True)
class GoldenPredictions:
    """A recorded sample of a model's transform, in the caller's own terms: JSON in, JSON out."""

    file: Path
    instances: list[Any]
    predictions: list[Any]
    tolerance: float
    digest: str = ""

    def difference(self, got: list[Any]) -> str | None:
        """A sentence about the first value that is not as recorded; None where all are."""
        if reason := self._difference("predictions", self.predictions, got):
            return f"golden sample {self.file}: {reason}"
        return None

    def _difference(self, path: str, wanted: Any, got: Any) -> str | None:
        if isinstance(wanted, dict) and isinstance(got, dict):
            if wanted.keys() != got.keys():
                return f"{path} was recorded with {sorted(wanted)}, has {sorted(got)} now"
            parts = [(f"{path}.{key}", value, got[key]) for key, value in wanted.items()]
        elif isinstance(wanted, list) and isinstance(got, list):
            if len(wanted) != len(got):
                return f"{path} was recorded with {len(wanted)} elements, has {len(got)} now"
            parts = [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip(wanted, got, strict=True))]
        else:
            return (
                None if self._is_close(wanted, got) else f"{path} was recorded as {wanted!r:.100}, is {got!r:.100} now"
            )
        return next((reason for part in parts if (reason := self._difference(*part))), None)

    def _is_close(self, wanted: Any, got: Any) -> bool:
        if all(type(value) in (int, float) for value in (wanted, got)):
            return math.isclose(wanted, got, rel_tol=self.tolerance, abs_tol=self.tolerance)
        if wanted is None and type(got) is float:  # JSON has no other word for what is not finite
            return not math.isfinite(got)
        return type(wanted) is type(got) and bool(wanted == got)


Sample = Golden | GoldenPredictions


def read_sample(file: Path, tolerance: float, read: places.Read = places.read) -> Sample:
    """`{"inputs": [...], "outputs": [...], "tolerance": 1e-5}` with the protocol's tensors. Raises RepositoryError.

    Or, for a transform, `instances` and `predictions`. `tolerance` is used where the file states none.
    """
    try:
        content = read(file, _MOST)
        sample = orjson.loads(content)
        known = float(sample.get("tolerance", tolerance)), hashlib.sha256(content).hexdigest()
        if "instances" in sample:
            return GoldenPredictions(file, list(sample["instances"]), list(sample["predictions"]), *known)
        inputs, outputs = (dict(map(_tensor, sample[side])) for side in ("inputs", "outputs"))
        return Golden(file, inputs, outputs, *known)
    except (ValueError, KeyError, TypeError, AttributeError, MalformedRequest) as error:
        raise RepositoryError(f"golden sample {file} cannot be read: {type(error).__name__}: {error}") from None


def read_golden(directory: Path | None, tolerance: float, read: places.Read = places.read) -> list[Sample]:
    """Every `*.json` of a golden directory, sorted; none where there is no such directory. Raises RepositoryError."""
    return [read_sample(file, tolerance, read) for file in sorted(directory.glob("*.json"))] if directory else []


def made_up(signature: Signature) -> Iterator[dict[str, Array]]:
    """The smallest inputs that fit: free dimensions are 1. First all ones, then all zeros."""
    for fill in (1, 0):
        yield {spec.name: _filled(spec, fill) for spec in signature.inputs}


def ones(datatype: Datatype, shape: tuple[int, ...]) -> Array:
    return _fill(datatype, shape, 1)


def _filled(spec: TensorSpec, fill: int) -> Array:
    shape = (1,) if spec.shape is None else tuple(1 if size == FREE else size for size in spec.shape)
    return _fill(spec.datatype, shape, fill)


def _fill(datatype: Datatype, shape: tuple[int, ...], fill: int) -> Array:
    return np.full(shape, "text" if datatype is Datatype.BYTES else fill, dtype=datatype.numpy)


def _tensor(tensor: dict[str, Any]) -> tuple[str, Array]:
    name = tensor["name"]
    return name, elements.decode(f"tensor {name!r}", DATATYPES[tensor["datatype"]], tensor["shape"], tensor["data"])
