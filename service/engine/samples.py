"""Inputs to run a model with before any caller does: recorded ones with their outputs, and made-up ones."""

import hashlib
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
    """A recorded sample: what went in, what must come out, within a tolerance that is both absolute and relative."""

    file: Path
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    tolerance: float
    digest: str = ""

    @classmethod
    def read(cls, file: Path, tolerance: float, read: places.Read = places.read) -> "Golden":
        """`{"inputs": [...], "outputs": [...], "tolerance": 1e-5}` with the protocol's tensors. Raises RepositoryError.

        `tolerance` is used where the file states none.
        """
        try:
            content = read(file, _MOST)
            sample = orjson.loads(content)
            inputs, outputs = (dict(map(_tensor, sample[side])) for side in ("inputs", "outputs"))
            made_with = float(sample.get("tolerance", tolerance))
            return cls(file, inputs, outputs, made_with, hashlib.sha256(content).hexdigest())
        except (ValueError, KeyError, TypeError, MalformedRequest) as error:
            raise RepositoryError(f"golden sample {file} cannot be read: {type(error).__name__}: {error}") from None

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


def read_golden(directory: Path | None, tolerance: float, read: places.Read = places.read) -> list[Golden]:
    """Every `*.json` of a golden directory, sorted; none where there is no such directory. Raises RepositoryError."""
    return [Golden.read(file, tolerance, read) for file in sorted(directory.glob("*.json"))] if directory else []


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
