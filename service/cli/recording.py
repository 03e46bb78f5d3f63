"""Golden samples: what went in, what came out, written beside the version and replayed as a start replays them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from service.engine.code import blame
from service.engine.model import Model
from service.errors import OnnicornError, RepositoryError, TransformFailed
from service.protocol import v2
from service.protocol.document import parse
from service.protocol.v2 import tensor_document
from service.settings import Settings
from service.tensors import Array, Datatype, Tensors, TensorSpec

Document = dict[str, Any]


def given(model: Model, body: bytes, settings: Settings) -> Document:
    """The sample of a request: of tensors, or of instances for the model's transform. Raises RepositoryError."""
    try:
        document = parse(body, settings.limits)
        if "instances" in document:
            return _predicted(model, document["instances"])
        request = v2.decode(body, None, model.signature, settings.limits)
        model.check(request.inputs)
        return _run(model, request.inputs, [output.name for output in request.outputs])
    except OnnicornError as error:
        raise RepositoryError(f"the request: {_reason(model, error)}") from None


def made(model: Model, count: int, seed: int) -> Iterator[Document]:
    """Samples of random inputs, in the shapes that the model has run with at warm-up. Raises RepositoryError."""
    if not model.example:
        raise RepositoryError("the model does not run on made-up inputs: give it a request with --input")
    random = np.random.default_rng(seed)
    for _ in range(count):
        specs = model.signature.inputs
        inputs = {spec.name: _random(random, spec, model.example[spec.name].shape) for spec in specs}
        try:
            yield _run(model, inputs, [])
        except OnnicornError as error:
            reason = _reason(model, error)
            raise RepositoryError(f"made-up inputs: {reason}; give the model a request with --input") from None


def write(samples: dict[Path, Document]) -> None:
    """Each appears whole or not at all. Raises RepositoryError."""
    for file, sample in samples.items():
        draft = file.with_suffix(".draft")
        try:
            file.parent.mkdir(exist_ok=True)
            draft.write_bytes(orjson.dumps(sample, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))
            draft.rename(file)
        except OSError as error:
            raise RepositoryError(f"{file} cannot be written: {error.strerror}") from None


@contextmanager
def undone_on_failure(files: Iterable[Path]) -> Iterator[None]:
    """What the files were before, they are again."""
    before = {file: file.read_bytes() if file.exists() else None for file in files}
    try:
        yield
    except BaseException:
        for file, content in before.items():
            if content is None:
                with suppress(OSError):  # it was not written at all
                    file.unlink()
            else:
                file.write_bytes(content)
        raise


def _run(model: Model, inputs: Tensors, names: list[str]) -> Document:
    """`names` are the outputs that are wanted; all of them for none."""
    specs = model.signature.select(names)
    outputs = model.run(inputs, [spec.name for spec in specs])
    for spec, output in zip(specs, outputs, strict=True):
        if spec.datatype.is_float and not np.isfinite(output).all():
            raise RepositoryError(f"output {spec.name!r} has NaN or infinity, for which JSON has no number")
    return {
        "inputs": [tensor_document(spec.name, spec.datatype, inputs[spec.name]) for spec in model.signature.inputs],
        "outputs": [
            tensor_document(spec.name, spec.datatype, output) for spec, output in zip(specs, outputs, strict=True)
        ],
    }


def _predicted(model: Model, instances: Any) -> Document:
    if model.transform is None:
        raise RepositoryError("it has instances, and the model has no transform to take them: give it inputs")
    if not isinstance(instances, list):
        raise RepositoryError("expected an array of instances")
    predictions = model.predict(model.transform.parse(instances))
    return {"instances": instances, "predictions": model.transform.document(predictions)}


def _random(random: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """Numbers around zero; of integers 0 and 1 only, which every mask and nearly every table of embeddings takes."""
    if spec.datatype is Datatype.BYTES:
        texts = np.empty(shape, dtype=np.object_)
        texts.reshape(-1)[:] = [f"text {number}" for number in random.integers(0, 1000, texts.size)]
        return texts
    values = random.standard_normal(shape) if spec.datatype.is_float else random.integers(0, 2, shape)
    return np.asarray(values, dtype=spec.datatype.numpy)


def _reason(model: Model, error: OnnicornError) -> str:
    """What the service would write into its log."""
    if isinstance(error, TransformFailed) and error.__cause__ and model.entry.transform:
        return blame(model.entry.transform, error.__cause__)
    return " ".join(str(error.__cause__ or error).split())
