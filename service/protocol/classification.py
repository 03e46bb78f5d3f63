"""The best classes of an output in place of its numbers: the protocol's classification extension.

Source: triton-inference-server/server, docs/protocol/extension_classification.md.
"""

from typing import NamedTuple

import numpy as np

from service.errors import AnswerTooLarge, MalformedRequest
from service.tensors import Array, TensorSpec


class Classes(NamedTuple):
    """So many of an output's classes, or all where it has fewer. With `batch`, those of each row by themselves."""

    most: int
    labels: tuple[str, ...]
    batch: bool

    def of(self, tensor: Array, bound: int) -> Array:
        """As BYTES, `<value>:<index>` or `<value>:<index>:<label>`, the greatest first, of equals the first; NaN last.

        A row of several axes is looked at flat. Labels are those of its last axis. Raises AnswerTooLarge for more texts
        than the `bound`: each is an object.
        """
        rows = tensor.shape[0] if self.batch else 1
        flat = tensor.reshape(rows, tensor.size // rows if rows else 0)
        if (texts := rows * min(self.most, flat.shape[1])) > bound:
            raise AnswerTooLarge(
                f"the answer would have {texts} classes, of which at most {bound} are written; "
                "ask for fewer classes or rows"
            )
        indices = _greatest(flat, self.most)
        values = np.take_along_axis(flat, indices, axis=1)
        strings = np.empty(indices.size, dtype=np.object_)
        strings[:] = list(map(self._written, values.flat, indices.flat))
        return strings.reshape(indices.shape if self.batch else indices.shape[1:])

    def _written(self, value: np.generic, index: int) -> str:
        label = f":{self.labels[index % len(self.labels)]}" if self.labels else ""
        return f"{value!s}:{index}{label}"


def classes(spec: TensorSpec, most: int, batch: bool) -> Classes:
    """Of an output that a caller wants classified. Raises MalformedRequest where it has no numbers."""
    if not has_classes(spec):
        raise MalformedRequest(
            f"output {spec.name!r}: 'parameters.classification': expected an output of numbers, it is {spec}"
        )
    return Classes(most, spec.labels, batch)


def has_classes(spec: TensorSpec) -> bool:
    """Has it numbers, of which some are greater than others?"""
    return spec.datatype.is_integer or spec.datatype.is_float


def _greatest(rows: Array, most: int) -> Array:
    """The indices of each row's greatest elements, in their order."""
    # An ascending order read from behind has the last of equals first, so the rows are read from behind as well.
    order = np.argsort(_ordered(rows)[:, ::-1], axis=1, kind="stable")[:, ::-1]
    greatest: Array = rows.shape[1] - 1 - order[:, :most]
    return greatest


def _ordered(rows: Array) -> Array:
    return np.where(np.isnan(rows), -np.inf, rows) if rows.dtype.kind == "f" else rows
