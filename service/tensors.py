"""Datatypes, tensors, and the signature that a model promises.

A tensor is a numpy array; BYTES tensors are object arrays of `str` (ONNX strings are UTF-8 text). Datatype names and
sizes are those of the Open Inference Protocol v2, "Tensor Data Types".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.errors import SignatureMismatch
from service.quoting import quoted

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

FREE: Final = -1
MAX_RANK: Final = 64  # numpy's own limit
# A string's own object, beside its characters, and the pointer to it.
_STRING_BYTES: Final = 64
# As many of other people's names as a message repeats.
_NAMES_SHOWN: Final = 10


class Datatype(Enum):
    """One datatype of the protocol; the value is its numpy type."""

    BOOL = np.dtype(np.bool_)
    UINT8 = np.dtype(np.uint8)
    UINT16 = np.dtype(np.uint16)
    UINT32 = np.dtype(np.uint32)
    UINT64 = np.dtype(np.uint64)
    INT8 = np.dtype(np.int8)
    INT16 = np.dtype(np.int16)
    INT32 = np.dtype(np.int32)
    INT64 = np.dtype(np.int64)
    FP16 = np.dtype(np.float16)
    FP32 = np.dtype(np.float32)
    FP64 = np.dtype(np.float64)
    BYTES = np.dtype(np.object_)

    # Enum computes name and value through a descriptor at every access; the request path wants plain attributes.
    numpy: np.dtype[Any]
    size: int

    def __init__(self, numpy: np.dtype[Any]) -> None:
        self.numpy = numpy
        self.size = 0 if numpy.hasobject else numpy.itemsize

    @property
    def is_integer(self) -> bool:
        return self.numpy.kind in "iu"

    @property
    def is_float(self) -> bool:
        return self.numpy.kind == "f"


DATATYPES: Final = {datatype.name: datatype for datatype in Datatype}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model says of one input or output.

    `shape` has -1 for a free dimension and is None where the model leaves the rank open. `names` runs parallel to
    `shape`: a free dimension's symbolic name, or "" where it has none. `labels` name the positions of the last axis.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...] | None
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def public_shape(self) -> list[int]:
        """The shape as metadata tells it; an open rank reads as one free dimension, the nearest the protocol has."""
        return [FREE] if self.shape is None else list(self.shape)

    def __str__(self) -> str:
        return describe(self.datatype, self.shape)


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs that a model promises, in the model's own order.

    `batch` says that the first dimension of every tensor is the batch axis: requests may bring any number of rows.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch: bool = False
    input_names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_names", frozenset(spec.name for spec in self.inputs))

    @property
    def output_names(self) -> list[str]:
        return [spec.name for spec in self.outputs]

    def with_batch_axis(self) -> "Signature":
        """The same with `batch` set and the batch axis named alike everywhere; unchanged where there is none.

        There is one where the first dimension of every tensor is free and no two of their names disagree.
        """
        specs = (*self.inputs, *self.outputs)
        if not self.inputs or not all(spec.shape and spec.shape[0] == FREE for spec in specs):
            return self
        names = self._first_names()
        if len(names) > 1:
            return self
        name = names.pop() if names else "batch"

        def named(spec: TensorSpec) -> TensorSpec:
            return replace(spec, names=(name, *spec.names[1:]))

        return Signature(tuple(map(named, self.inputs)), tuple(map(named, self.outputs)), batch=True)

    def batch_obstacle(self) -> str:
        """Why there is no batch axis, although the first dimension of every input is free; "" where that is not so."""
        if self.batch or not self.inputs or not all(spec.shape and spec.shape[0] == FREE for spec in self.inputs):
            return ""
        for spec in self.outputs:
            if not spec.shape or spec.shape[0] != FREE:
                return f"the first dimension of every input is free, that of output {spec.name!r} is not: {spec}"
        return f"the first dimensions have different names: {', '.join(sorted(self._first_names()))}"

    def _first_names(self) -> set[str]:
        return {spec.names[0] for spec in (*self.inputs, *self.outputs)} - {""}

    def select(self, names: list[str]) -> list[TensorSpec]:
        """The outputs asked for, in the order asked for; all of them for no names. Raises SignatureMismatch."""
        if not names:
            return list(self.outputs)
        known = {spec.name: spec for spec in self.outputs}
        if unknown := [name for name in names if name not in known]:
            raise SignatureMismatch(f"unknown outputs {quote(unknown)}: the model has {quote(known)}")
        return [known[name] for name in names]

    def check(self, tensors: Tensors) -> int:
        """Hold `tensors` against the inputs; returns the rows, 1 without a batch axis. Raises SignatureMismatch."""
        self.require(tensors)
        seen: dict[str, tuple[int, str]] = {}
        for spec in self.inputs:
            shape = tensors[spec.name].shape
            _check_tensor(spec, tensors[spec.name])
            if len(self.inputs) > 1 or len(shape) > 1:
                _check_named_dimensions(spec, shape, seen)
        return tensors[self.inputs[0].name].shape[0] if self.batch else 1

    def require(self, names: Mapping[str, object]) -> None:
        """Exactly the inputs that the model has. Raises SignatureMismatch."""
        if names.keys() != self.input_names:
            raise self._wrong_names(names)

    def _wrong_names(self, names: Mapping[str, object]) -> SignatureMismatch:
        wanted = [spec.name for spec in self.inputs]
        missing = [name for name in wanted if name not in names]
        unknown = [name for name in names if name not in self.input_names]
        wrong = [f"{word} {quote(some)}" for word, some in (("missing", missing), ("unknown", unknown)) if some]
        return SignatureMismatch(f"inputs: expected {quote(wanted)}, got {quote(names)}: {', '.join(wrong)}")


def describe(datatype: Datatype, shape: tuple[int, ...] | None) -> str:
    """`FP32[-1,64]`; an open rank is `FP32[...]`."""
    return f"{datatype.name}[{'...' if shape is None else ','.join(map(str, shape))}]"


def limits_of(datatype: Datatype) -> tuple[int, int]:
    """The least and the greatest value of an integer datatype."""
    limits = np.iinfo(datatype.numpy)
    return int(limits.min), int(limits.max)


def datatype_of(array: Array) -> Datatype:
    return Datatype(array.dtype)


def weight(array: Array) -> int:
    """The bytes of memory that a tensor takes; of strings, about as many."""
    if not array.dtype.hasobject:
        return array.nbytes
    return array.size * _STRING_BYTES + sum(map(len, array.reshape(-1)))


def quote(names: Collection[str]) -> str:
    """However many and long they are, as a message may repeat them."""
    shown = ", ".join(map(quoted, islice(names, _NAMES_SHOWN))) or "none"
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _check_tensor(spec: TensorSpec, array: Array) -> None:
    if array.dtype == spec.datatype.numpy and _has_shape(spec.shape, array.shape):
        return
    raise SignatureMismatch(f"input {spec.name!r}: expected {spec}, got {describe(datatype_of(array), array.shape)}")


def _has_shape(wanted: tuple[int, ...] | None, shape: tuple[int, ...]) -> bool:
    if wanted is None:
        return True
    if len(wanted) != len(shape):
        return False
    for want, got in zip(wanted, shape, strict=True):  # noqa: SIM110 - every request passes here, and `all` costs more
        if want not in (FREE, got):
            return False
    return True


def _check_named_dimensions(spec: TensorSpec, shape: tuple[int, ...], seen: dict[str, tuple[int, str]]) -> None:
    """Dimensions of one name must be equal across inputs; `seen` maps a name to its size and who set it."""
    for axis, name in enumerate(spec.names):
        if not name:
            continue
        size, owner = seen.setdefault(name, (shape[axis], spec.name))
        if size != shape[axis]:
            raise SignatureMismatch(
                f"inputs {owner!r} and {spec.name!r} disagree about dimension {name!r}: {size} and {shape[axis]}"
            )
