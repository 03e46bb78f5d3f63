"""One version of one model, ready to run: session, transform, limits."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import structlog

from service.engine import code
from service.engine.batch import join, split
from service.engine.declaration import Declaration
from service.engine.manifest import Entry
from service.engine.padding import Padding
from service.engine.prepare import load_checked, load_prepared
from service.engine.runs import Run
from service.engine.session import Compute, Session
from service.engine.transform import Loaded
from service.errors import InferenceFailed, MalformedRequest, RepositoryError, SignatureMismatch
from service.tensors import FREE, Array, Signature, Tensors, TensorSpec

log = structlog.get_logger()


class Model:
    """A loaded version. Its session may be used from any thread, by one caller at a time or several.

    `is_prepared` says that its weights are mapped from the cache, one copy for all workers. `example` is an input that
    the model has run with: what the documentation and the start-up line show.
    """

    def __init__(self, entry: Entry, compute: Compute) -> None:
        """Load and verify: the digest, the pinned signature, the labels, the task. Raises RepositoryError."""
        declaration = entry.declaration
        self.name = entry.name
        self.version = entry.version
        self.digest = entry.digest
        self.declaration = declaration
        self.example: Tensors = {}
        self.findings = entry.findings
        self.operators = entry.facts.operators
        self.runs_on_one_cpu_thread = compute.is_one_cpu_thread(declaration.session.intra_op_threads)
        self.entry = entry
        self._session, self.is_prepared = _load(entry, compute)
        self.signature = _declared(self._session.signature, declaration)
        self.padding = Padding(self.signature, declaration.padding) if declaration.padding else None
        self.transform = code.load(entry, self.signature)
        if declaration.task == "embeddings":
            _check_embeds(self.transform)
        self._outputs = {spec.name: spec for spec in self.signature.outputs}

    @property
    def providers(self) -> list[str]:
        return self._session.providers

    def batch_limit(self, most: int) -> int:
        """The most rows in one run of several requests: as declared, else what pays, up to `most`."""
        if not self.findings.together or most == 1:
            return 1
        return self.declaration.limits.batch_rows or min(most, self.findings.batch_rows)

    def check(self, tensors: Tensors) -> int:
        """Would the model take these? Returns their rows. Raises SignatureMismatch."""
        rows = self.signature.check(tensors)
        self.check_rows(rows)
        return rows

    def check_rows(self, rows: int) -> None:
        """May one request bring so many? Raises SignatureMismatch."""
        limit = self.declaration.limits.max_rows
        if limit is not None and rows > limit:
            raise SignatureMismatch(f"model {self.name!r} takes at most {limit} rows in one request, got {rows}")

    def run(self, tensors: Tensors, outputs: Sequence[str], run: Run | None = None) -> list[Array]:
        """Blocks while the model runs, or until `run` is terminated. Raises InferenceFailed from ONNX Runtime's."""
        if self.signature.batch and 0 in next(iter(tensors.values())).shape[:1]:
            empty = self._empty_outputs(tensors, outputs)
            if empty is not None:
                return empty
        try:
            return self._session.run(tensors, outputs, run and run.options)
        # The binding has no common root for its errors below Exception.
        except Exception as error:
            raise InferenceFailed(self.name, self.version) from error

    def run_all(self, tensors: Tensors) -> list[Array]:
        """Every output, in the model's order."""
        return self.run(tensors, self.signature.output_names)

    def batch_key(self, tensors: Tensors) -> Hashable:
        """Requests whose keys are equal may share a run; no two have equal keys where none may."""
        if not self.findings.together:
            return object()
        if self.padding and self.findings.pads:
            return self.padding.key(tensors)
        return tuple([tensors[spec.name].shape[1:] for spec in self.signature.inputs])

    def run_together(
        self, requests: Sequence[Tensors], rows: Sequence[int], outputs: Sequence[str], run: Run | None = None
    ) -> list[list[Array]]:
        """One run for requests of one key, each with so many rows; their outputs. Raises InferenceFailed."""
        return self.part(self.run(self.join(requests), outputs, run), requests, rows, outputs)

    def join(self, requests: Sequence[Tensors]) -> Tensors:
        """Requests of one key as one, their rows one behind the other."""
        if self.padding and self.findings.pads and len(requests) > 1:
            return self.padding.join(requests)
        return join(requests)

    def part(
        self, results: list[Array], requests: Sequence[Tensors], rows: Sequence[int], outputs: Sequence[str]
    ) -> list[list[Array]]:
        """The outputs of joined requests, each with so many rows, back to the requests. Raises ValueError."""
        parts = split(results, rows)
        if not (self.padding and self.findings.pads) or len(requests) == 1:
            return parts
        specs = [self._outputs[name] for name in outputs]
        return [
            [self.padding.cut(spec, output, tensors) for spec, output in zip(specs, part, strict=True)]
            for tensors, part in zip(requests, parts, strict=True)
        ]

    def predict(self, instances: Sequence[Any], run: Run | None = None) -> list[Any]:
        """One prediction for each, by the model's transform. Blocks.

        Raises MalformedRequest where an instance is at fault, TransformFailed where the transform is, InferenceFailed.
        """
        assert self.transform is not None
        return self.transform.predict(instances, lambda tensors: self.run(tensors, self.signature.output_names, run))

    def predict_together(self, requests: Sequence[Sequence[Any]], run: Run | None = None) -> list[list[Any]]:
        """The instances of several requests as one batch; what `predict` raises is about all of them."""
        together = [(number, instance) for number, request in enumerate(requests) for instance in request]
        predictions = self.predict([instance for _, instance in together], run)
        parts: list[list[Any]] = [[] for _ in requests]
        for (number, _), prediction in zip(together, predictions, strict=True):
            parts[number].append(prediction)
        return parts

    def _empty_outputs(self, tensors: Tensors, outputs: Sequence[str]) -> list[Array] | None:
        """No rows in, no rows out: many graphs cannot run on nothing. None where an output's shape is not known."""
        sizes = {
            name: size
            for spec in self.signature.inputs
            for name, size in zip(spec.names, tensors[spec.name].shape, strict=True)
            if name
        }
        shapes = [_resolved(self._outputs[name], sizes) for name in outputs]
        if any(FREE in shape for shape in shapes):
            return None
        return [
            np.empty(shape, dtype=self._outputs[name].datatype.numpy)
            for name, shape in zip(outputs, shapes, strict=True)
        ]


def _load(entry: Entry, compute: Compute) -> tuple[Session, bool]:
    """The prepared form (True), or else the file itself, if it is still what was checked."""
    if entry.prepared:
        try:
            return load_prepared(entry.prepared, entry, compute), True
        except RepositoryError as error:
            log.warning("prepared_lost", model=entry.name, version=entry.version, reason=str(error))
    return load_checked(entry, compute), False


def _declared(signature: Signature, declaration: Declaration) -> Signature:
    """The session's signature with what `model.toml` adds to it. Raises RepositoryError where the two disagree."""
    if declaration.signature and (difference := declaration.signature.difference(signature)):
        raise RepositoryError(difference)
    outputs = {spec.name: spec for spec in signature.outputs}
    for name, labels in declaration.labels.items():
        spec = outputs.get(name)
        if spec is None:
            raise RepositoryError(f"labels in model.toml: there is no output {name!r}; expected one of {list(outputs)}")
        if not spec.shape or spec.shape[-1] not in (FREE, len(labels)):
            raise RepositoryError(f"labels in model.toml: output {name!r} is {spec}, got {len(labels)} labels")
        outputs[name] = replace(spec, labels=labels)
    signature = replace(signature, outputs=tuple(outputs.values()))
    return signature.with_batch_axis() if declaration.batch else signature


def _check_embeds(transform: Loaded | None) -> None:
    """`/v1/embeddings` sends texts and nothing else. Raises RepositoryError."""
    wanted = 'task = "embeddings" in model.toml needs a transform whose Instance takes {"text": "..."}'
    if transform is None:
        raise RepositoryError(f"{wanted}, and the model has none")
    try:
        transform.parse([{"text": "a text"}])
    except MalformedRequest as error:
        raise RepositoryError(f"{wanted}: {error}") from None


def _resolved(spec: TensorSpec, sizes: dict[str, int]) -> tuple[int, ...]:
    assert spec.shape is not None  # a model with a batch axis has no open rank
    return tuple(
        sizes.get(name, FREE) if size == FREE else size for size, name in zip(spec.shape, spec.names, strict=True)
    )
