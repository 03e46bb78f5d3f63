"""The rows of several requests as one set of tensors, and back."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from service.tensors import Array, Tensors


def join(requests: Sequence[Tensors]) -> Tensors:
    """Stack along the first axis; every request has the same names, and shapes that agree in the other axes."""
    if len(requests) == 1:
        return requests[0]
    return {name: np.concatenate([tensors[name] for tensors in requests]) for name in requests[0]}


def split(outputs: Sequence[Array], rows: Sequence[int]) -> list[list[Array]]:
    """Cut stacked outputs back into the requests that had so many rows each; views, not copies.

    Raises ValueError for an output that has not as many rows as went in: nobody can tell whose are whose.
    """
    if len(rows) == 1:
        return [list(outputs)]
    if any(len(output) != sum(rows) for output in outputs):
        raise ValueError(f"{sum(rows)} rows went in, {', '.join(str(len(output)) for output in outputs)} came out")
    ends = list(accumulate(rows))
    return [[output[end - count : end] for output in outputs] for end, count in zip(ends, rows, strict=True)]


def repeat(tensors: Tensors, times: int) -> Tensors:
    """The same rows several times over."""
    if times == 1:
        return tensors
    return {name: np.concatenate([tensor] * times) for name, tensor in tensors.items()}
