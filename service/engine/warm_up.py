"""A model runs before any caller comes: with every input that we have for it, and the golden ones must come out right.

What it has run with becomes the example that the documentation shows.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog

from service import elements
from service.engine.code import blame
from service.engine.declaration import WarmUpInput
from service.engine.model import Model
from service.engine.samples import Golden, GoldenPredictions, Sample, made_up, ones, read_golden
from service.engine.transform import Loaded
from service.errors import (
    InferenceFailed,
    MalformedRequest,
    OnnicornError,
    RepositoryError,
    SignatureMismatch,
    TransformFailed,
)
from service.tensors import Array, Tensors, TensorSpec

log = structlog.get_logger()


def warm_up(model: Model, samples: Sequence[Sample] | None = None) -> None:
    """Run once with every input we have, and hold the golden outputs against what comes. Raises RepositoryError.

    `samples` are the golden ones, where they have been read already.
    """
    started = time.perf_counter()
    if samples is None:
        samples = _checked_samples(model)
    for sample in samples:
        if isinstance(sample, Golden):
            _replay(model, sample)
        else:
            _replay_predictions(model, sample)
    declared = model.declaration.warm_up
    for inputs in declared:
        _run_declared(model, inputs)
    if model.transform and not any(isinstance(sample, GoldenPredictions) for sample in samples):
        _run_examples(model, model.transform)
    if not samples and not declared and not model.example:
        _run_made_up(model)
    log.debug(
        "warmed_up",
        model=model.name,
        version=model.version,
        golden=len(samples),
        declared=len(declared),
        seconds=round(time.perf_counter() - started, 3),
    )


def _checked_samples(model: Model) -> list[Sample]:
    """The golden samples that the version was checked with.

    What lies beside it may be another version's by now, or gone; this one was good, and is wanted.
    """
    known = model.entry.golden_digests
    try:
        samples = read_golden(model.entry.golden, model.declaration.tolerance)
    except RepositoryError:
        if known is None:
            raise
        samples = []
    if known is None:
        return samples
    kept = [sample for sample in samples if sample.digest in known]
    if len(kept) != len(known) or len(kept) != len(samples):
        log.warning("golden_changed", model=model.name, version=model.version, checked=len(known), left=len(kept))
    return kept


def _replay(model: Model, sample: Golden) -> None:
    names = [spec.name for spec in _select(model, sample)]
    with _said(model, f"golden sample {sample.file}"):
        got = _run(model, sample.inputs, names)
    if difference := sample.difference(dict(zip(names, got, strict=True))):
        raise RepositoryError(f"model {model.name!r} version {model.version}: {difference}")
    model.example = model.example or sample.inputs


def _replay_predictions(model: Model, sample: GoldenPredictions) -> None:
    transform = model.transform
    if transform is None:
        raise RepositoryError(f"golden sample {sample.file} has instances, and the model has no transform to take them")
    got = _predict(model, transform, f"golden sample {sample.file}", sample.instances)
    if difference := sample.difference(got):
        raise RepositoryError(f"model {model.name!r} version {model.version}: {difference}")


def _run_examples(model: Model, transform: Loaded) -> None:
    """No predictions are recorded: what the transform's own type shows as examples must do."""
    if examples := transform.example():
        _predict(model, transform, "the examples of Instance", examples)
        return
    log.warning(
        "transform_not_tried",
        model=model.name,
        version=model.version,
        hint='record a golden sample, {"instances": [...], "predictions": [...]}, or give Instance examples',
    )


def _predict(model: Model, transform: Loaded, what: str, values: list[Any]) -> list[Any]:
    """JSON in, JSON out. What the transform makes of it is an example of what the model takes, too."""
    with _said(model, what):
        instances = transform.parse(values)
        predictions = transform.document(model.predict(instances))
        inputs = transform.inputs(instances[: None if model.signature.batch else 1]) if instances else {}
    transform.note_example(values)
    model.example = model.example or inputs
    return predictions


def _select(model: Model, sample: Golden) -> list[TensorSpec]:
    try:
        return model.signature.select(list(sample.outputs))
    except SignatureMismatch as error:
        raise RepositoryError(f"golden sample {sample.file}: {error}") from None


def _run_declared(model: Model, inputs: dict[str, WarmUpInput]) -> None:
    specs = {spec.name: spec for spec in model.signature.inputs}
    unknown = inputs.keys() - specs.keys()
    if unknown:
        raise RepositoryError(f"model {model.name!r}: warm_up names unknown inputs {', '.join(sorted(unknown))}")
    try:
        tensors = {name: _tensor(specs[name], given) for name, given in inputs.items()}
    except MalformedRequest as error:
        raise RepositoryError(f"model {model.name!r}: warm_up: {error}") from None
    with _said(model, "warm_up in model.toml"):
        _run(model, tensors, model.signature.output_names)
    model.example = model.example or tensors


def _tensor(spec: TensorSpec, given: WarmUpInput) -> Array:
    if given.data is None:
        return ones(spec.datatype, given.shape)
    return elements.decode(f"input {spec.name!r}", spec.datatype, given.shape, given.data)


def _run_made_up(model: Model) -> None:
    """Not every model takes made-up numbers; one that does not is served cold, with a word about it."""
    refusal: OnnicornError | None = None
    for tensors in made_up(model.signature):
        try:
            model.run_all(tensors)
        except InferenceFailed as error:
            refusal = error
        else:
            model.example = tensors
            return
    log.warning(
        "warm_up_skipped",
        model=model.name,
        version=model.version,
        reason=" ".join(str(refusal.__cause__).split()) if refusal else "",
        hint="the model does not run on made-up inputs: give it warm_up inputs in model.toml, or a golden sample",
    )


def _run(model: Model, tensors: Tensors, outputs: Sequence[str]) -> list[Array]:
    model.check(tensors)
    return model.run(tensors, outputs)


@contextmanager
def _said(model: Model, what: str) -> Iterator[None]:
    """Whatever the model or its transform refuses, or fails with, is said of `what`."""
    try:
        yield
    except OnnicornError as error:
        reason = _reason(model, error)
        raise RepositoryError(f"model {model.name!r} version {model.version}: {what}: {reason}") from None


def _reason(model: Model, error: OnnicornError) -> str:
    if isinstance(error, TransformFailed) and error.__cause__ and model.entry.transform:
        return blame(model.entry.transform, error.__cause__)
    return " ".join(str(error.__cause__ or error).split())
