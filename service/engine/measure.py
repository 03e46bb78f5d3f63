"""What a loaded model turns out to be when it is run: do its rows go together, and is it cheaper than a thread?"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import numpy as np

from service.engine.batch import repeat
from service.tensors import FREE, Array, Datatype, Signature, Tensors

Run = Callable[[Tensors], Sequence[Array]]

# Handing a run to a thread and taking its result back costs 62 us of CPU; a run that is not much longer stays.
INLINE_SECONDS: Final = 100e-6
# A run that takes this long has no place on the loop, whatever was measured before.
DEMOTE_SECONDS: Final = 1e-3
_MAX_INLINE_ROWS: Final = 64
_TRIES: Final = 5
# Their cost, or the size of what comes out, depends on the values that come in.
_UNPREDICTABLE: Final = frozenset(
    {
        *("Compress", "ConstantOfShape", "Expand", "If", "Loop", "Multinomial", "NonMaxSuppression", "NonZero"),
        *("Range", "Resize", "Scan", "SequenceAt", "StringSplit", "Tile", "TopK", "Unique", "Upsample"),
    }
)


def rows_are_independent(run: Run, tensors: Tensors, tolerance: float) -> bool:
    """Does each row come out the same, alone and in company? Only then may strangers' rows share a run.

    `tensors` have a batch axis; raises what `run` raises.
    """
    alone = run(tensors)
    together = run(repeat(tensors, 2))
    return all(_is_twice(one, two, tolerance) for one, two in zip(alone, together, strict=True))


def is_predictable(signature: Signature, operators: frozenset[str]) -> bool:
    """Could any request take much longer than those at warm-up did? Not where all but the rows is fixed."""
    specs = (*signature.inputs, *signature.outputs)
    fixed = all(spec.shape is not None and FREE not in spec.shape[signature.batch :] for spec in specs)
    strings = any(spec.datatype is Datatype.BYTES for spec in specs)
    return fixed and not strings and not operators & _UNPREDICTABLE


def inline_rows(run: Run, tensors: Tensors, batch: bool) -> int:
    """The most rows, up to 64, whose run stays below INLINE_SECONDS; 0 where not even `tensors` does.

    `tensors` are one row, or the only input there is without a batch axis.
    """
    rows, best = 1, 0
    while rows <= _MAX_INLINE_ROWS and _fastest(run, repeat(tensors, rows) if batch else tensors) < INLINE_SECONDS:
        best = rows
        if not batch:
            break
        rows *= 2
    return best


def _fastest(run: Run, tensors: Tensors) -> float:
    """The least of a few runs: what the machine does meanwhile only ever adds."""

    def seconds() -> float:
        started = perf_counter()
        run(tensors)
        return perf_counter() - started

    return min(seconds() for _ in range(_TRIES))


def _is_twice(one: Array, two: Array, tolerance: float) -> bool:
    if two.shape != (2 * one.shape[0], *one.shape[1:]):
        return False
    expected = np.concatenate([one, one])
    if one.dtype.kind != "f":
        return np.array_equal(expected, two)
    return np.allclose(two, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
