"""What running a model shows: whether its rows go together, how many at a time pay, whether it needs a thread.

Measured once, when a generation is made, so that all its workers do the same.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from time import perf_counter
from typing import Final

import numpy as np
import structlog

from service.engine.batch import join, repeat
from service.engine.manifest import Findings
from service.engine.model import Model
from service.engine.padding import Padding
from service.errors import InferenceFailed, RepositoryError
from service.tensors import FREE, Array, Datatype, Signature, Tensors

log = structlog.get_logger()

Run = Callable[[Tensors], Sequence[Array]]

# Handing a run to a thread and taking its result back costs 62 us of CPU; a run that is not much longer stays.
INLINE_SECONDS: Final = 100e-6
_MOST_ROWS: Final = 64
_TRIES: Final = 5
# A model that is so slow that measuring would hold up the start is measured no further.
_BUDGET_SECONDS: Final = 0.5
# What each run costs besides, in the thread and on the event loop; more rows share it.
RUN_SECONDS: Final = 100e-6
# More rows have to bring more than this; fewer rows are sooner done.
_GAIN: Final = 0.97
# Kernels sum in another order for another number of rows; a model whose rows really mix differs by much more.
_ROW_TOLERANCE: Final = 1e-3
# Their cost, or the size of what comes out, depends on the values that come in.
_UNPREDICTABLE: Final = frozenset(
    {
        *("Compress", "ConstantOfShape", "Expand", "If", "Loop", "Multinomial", "NonMaxSuppression", "NonZero"),
        *("Range", "Resize", "Scan", "SequenceAt", "StringSplit", "Tile", "TopK", "Unique", "Upsample"),
    }
)
# How many rows come out depends on the values that come in, so rows cannot be told apart.
_SELECTING: Final = frozenset({"Compress", "NonMaxSuppression", "Unique"})


def measure(model: Model) -> Findings:
    """Run the model's example alone and in company. Raises RepositoryError where declared padding changes answers.

    Without an input that runs nothing can be measured: then every request runs by itself, in a thread.
    """
    if not model.example:
        return Findings()
    batch = model.signature.batch
    if model.declaration.batch and (obstacle := model.signature.batch_obstacle()):
        _tell_off(model, f"{obstacle}; its requests run one by one")
    row = {name: tensor[:1] for name, tensor in model.example.items()} if batch else dict(model.example)
    together = batch and not model.operators & _SELECTING and _rows_are_independent(model, row)
    batch_rows, row_seconds = best_rows(model.run_all, row, _MOST_ROWS if together else 1)
    return Findings(
        together=together,
        batch_rows=batch_rows,
        row_seconds=row_seconds,
        inline_rows=inline_rows(model.run_all, row, batch) if _may_inline(model) else 0,
        pads=together and model.padding is not None and _padding_pays(model, model.padding, row),
    )


def rows_are_independent(run: Run, row: Tensors, tolerance: float) -> bool:
    """Does each of two different rows come out the same, alone and in company? Only then may strangers share a run."""
    rows = (row, another(row))
    alone = [run(tensors) for tensors in rows]
    together = run(join(rows))
    return all(
        _is_close(np.concatenate([one, other]), both, tolerance)
        for one, other, both in zip(*alone, together, strict=True)
        if one.shape[1:] == other.shape[1:]
    ) and all(len(both) == 2 for both in together)


def another(row: Tensors) -> Tensors:
    """A row that differs from `row` and is made of values like its own; the same where none can be made."""
    return {name: _another(tensor) for name, tensor in row.items()}


def _another(tensor: Array) -> Array:
    rolled = np.roll(tensor, 1, axis=-1) if tensor.ndim > 1 else tensor
    if tensor.dtype.kind == "f":
        ramp = np.linspace(0.5, 1.5, tensor.size, dtype=tensor.dtype).reshape(tensor.shape)
        made = np.asarray(rolled * ramp + ramp - 1, dtype=tensor.dtype)
        return np.asarray(-tensor, dtype=tensor.dtype) if np.array_equal(made, tensor) else made
    if np.array_equal(rolled, tensor) and tensor.dtype.kind in "iub":
        return np.zeros_like(tensor)
    return rolled


def is_predictable(signature: Signature, operators: frozenset[str]) -> bool:
    """Could any request take much longer than those measured? Not where all but the rows is fixed."""
    specs = (*signature.inputs, *signature.outputs)
    fixed = all(spec.shape is not None and FREE not in spec.shape[signature.batch :] for spec in specs)
    strings = any(spec.datatype is Datatype.BYTES for spec in specs)
    return fixed and not strings and not operators & _UNPREDICTABLE


def best_rows(run: Run, row: Tensors, most: int = _MOST_ROWS) -> tuple[int, float]:
    """How many rows in one run, up to `most`, cost the least each, and how many seconds that is.

    The fewer where more would not gain much.
    """
    best, best_cost, rows, spent = 1, inf, 1, 0.0
    while rows <= most and spent < _BUDGET_SECONDS:
        try:
            seconds = _fastest(run, repeat(row, rows), _BUDGET_SECONDS)
        except InferenceFailed:
            break  # some graphs have a limit of their own
        cost = (seconds + RUN_SECONDS) / rows
        if cost < best_cost * _GAIN:
            best, best_cost = rows, cost
        spent += seconds * _TRIES
        rows *= 2
    return best, 0.0 if best_cost == inf else float(best_cost)


def inline_rows(run: Run, tensors: Tensors, batch: bool) -> int:
    """The most rows whose run stays below INLINE_SECONDS; 0 where not even `tensors`, which are one row, do."""
    rows, best = 1, 0
    with suppress(InferenceFailed):  # some graphs have a limit of their own
        while rows <= (_MOST_ROWS if batch else 1):
            if _fastest(run, repeat(tensors, rows), INLINE_SECONDS) >= INLINE_SECONDS:
                break
            best = rows
            rows *= 2
    return best


def _may_inline(model: Model) -> bool:
    """As declared, else where no request can surprise the event loop."""
    if model.declaration.inline is not None:
        return model.declaration.inline
    return is_predictable(model.signature, model.operators) and model.runs_on_one_cpu_thread


def _rows_are_independent(model: Model, row: Tensors) -> bool:
    try:
        independent = rows_are_independent(model.run_all, row, max(model.declaration.tolerance, _ROW_TOLERANCE))
    except InferenceFailed:
        independent = False
    if not independent:
        _tell_off(model, "a row fails or comes out differently beside another: its requests run one by one")
    return independent


def _tell_off(model: Model, reason: str) -> None:
    hint = "batch = false in model.toml says so without this warning"
    log.warning("batching_off", model=model.name, version=model.version, reason=reason, hint=hint)


def _padding_pays(model: Model, padding: Padding, row: Tensors) -> bool:
    try:
        return _padding_wins(model, padding, row)
    except InferenceFailed as error:
        reason = " ".join(str(error.__cause__ or error).split())
        log.warning("padding_off", model=model.name, version=model.version, reason=reason)
        return False


def _padding_wins(model: Model, padding: Padding, row: Tensors) -> bool:
    """Is a padded run of several cheaper than as many runs alone? Raises RepositoryError where it is not the same."""
    ratio = min(rule.max_waste for rule in model.declaration.padding.values())
    stretched = padding.stretched(row, ratio)
    specs = model.signature.outputs
    for spec, plain, padded in zip(specs, model.run_all(row), model.run_all(stretched), strict=True):
        tolerance = max(model.declaration.tolerance, _ROW_TOLERANCE)
        if not _is_close(plain, padding.cut(spec, padded, row), tolerance):
            raise RepositoryError(f"padding in model.toml changes output {spec.name!r}: the mask does not cover it")
    several = [row, stretched] * 4
    together = _fastest(lambda requests: model.run_all(padding.join(several)), row, _BUDGET_SECONDS)
    alone = 4 * sum(_fastest(model.run_all, tensors, _BUDGET_SECONDS) for tensors in (row, stretched))
    if together >= alone * _GAIN:
        log.info(
            "padding_off", model=model.name, version=model.version, reason="padded runs cost more than single ones"
        )
    return together < alone * _GAIN


def _fastest(run: Run, tensors: Tensors, enough: float) -> float:
    """The least of a few runs: what the machine does meanwhile only ever adds. One that takes `enough` is the last."""
    best = inf
    for _ in range(_TRIES):
        started = perf_counter()
        run(tensors)
        seconds = perf_counter() - started
        best = min(best, seconds)
        if seconds > 2 * enough:
            break
    return best


def _is_close(one: Array, two: Array, tolerance: float) -> bool:
    if one.shape != two.shape or one.dtype.kind != "f":
        return np.array_equal(one, two)
    return np.allclose(one, two, rtol=tolerance, atol=tolerance, equal_nan=True)
