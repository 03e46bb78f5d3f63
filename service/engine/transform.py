'''A transform: ten lines beside a model, so that callers send and get what they know, and not tensors.

Put a file `transform.py` beside `model.toml` (or where that would be), with one class in it:

    """Flowers by their petals: the model takes x FP32[-1,2], and gives scores FP32[-1,3]."""

    import json
    from pathlib import Path

    import numpy as np
    from pydantic import BaseModel

    from service.engine.transform import BadInstance


    class Flowers:
        class Instance(BaseModel):
            length: float
            width: float

        class Prediction(BaseModel):
            species: str
            score: float

        def __init__(self, folder: Path) -> None:
            self.species = json.loads((folder / "species.json").read_text())

        def before(self, instances):
            for index, petal in enumerate(instances):
                if petal.width > petal.length:
                    raise BadInstance("no petal is wider than long", index)
            return {"x": np.array([[petal.length, petal.width] for petal in instances], np.float32)}

        def after(self, outputs):
            return [
                self.Prediction(species=self.species[scores.argmax()], score=scores.max())
                for scores in outputs["scores"]
            ]

That is all. `POST /v1/models/<name>:predict` with `{"instances": [{"length": 1.4, "width": 0.2}]}` is answered by
`{"predictions": [{"species": "setosa", "score": 0.98}]}`; what is no `Instance` is refused with the path of what is
wrong, and both types are in the documentation. The tensors themselves can still be sent to `/v2/models/<name>/infer`.

What may be relied on:

* `Instance` and `Prediction` are any types that Pydantic knows: a model, `str`, `list[float]`, a `TypedDict`. What
  `after` returns may be a `Prediction`, or what makes one: a dict, a numpy array of floats for `list[float]`. Fields go
  by their aliases in both; a number that is not finite becomes null, and an integer beyond 64 bits is an error.
* Validators must be quick: they may run on the event loop. `Instance` shows examples by `json_schema_extra =
  {"examples": [{...}]}` in its `model_config`; they are tried at the start where there is no golden sample.
* `before` gets a whole batch: the instances of one request, or of several that wait together; never none. It returns
  every input that the model has, with the model's own datatypes (`np.float64` is no `np.float32`) and shapes, usually
  with as many rows as there are instances. Rows of different lengths are padded here. Where a batch fails it is called
  again, for each request alone, so it must not change an instance; the list is its own.
* `after` gets all outputs of that run, by name, and beside them the inputs that `before` made: a mask may be needed
  again. It returns one prediction for each instance, in order. A model without a batch axis is run for one instance at
  a time.
* `BadInstance(message, index)` is the caller's mistake: 400 with `instances[3]: <message>`, for that request alone;
  `index` counts what `before` was given, and in a validator there is none. Any other exception is the transform's: 500,
  and the traceback is in the log, never in the answer.
* One object is made in each worker, once, and again when anything of the model changes. `folder` has copies, made when
  the model was checked, of all files that lie directly beside `model.toml`, such as `species.json`: a change of one is
  a change of the model. They are only read: what a transform writes belongs elsewhere. What lies deeper is reached from
  `__file__`, and watched by nobody. `__init__` may be absent.
* `before` and `after` run in the model's run thread, one batch at a time (`run_threads` at a time, where `model.toml`
  says more), and count as its run: for deadlines, for `ONNICORN_LIFECYCLE__RUN_SECONDS`, in metrics.
* `media_types = ("image/png",)` and `read(self, body, media_type)` let a raw body be one instance: `read` returns an
  `Instance`, or what makes one. It may raise `BadInstance`, too, and runs where `before` does, and before it.
* A `transform.py` is one file, for all versions of a model. What it imports must be installed where the service runs.

A golden sample `golden/*.json` beside `model.onnx` is replayed before the model is served, and is the example in the
documentation: `{"instances": [{"length": 1.4, "width": 0.2}], "predictions": [{"species": "setosa", "score": 0.98}],
"tolerance": 1e-3}`. `onnicorn prepare` tries it without a server.

The class may have any name, if no other class of the file has `before` and `after` (or else the name `Transform`). A
class from an installed package is named by `transform = "package.module:Class"` in `model.toml`; then that is meant,
and a `transform.py` is not looked at.
'''

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index as integer
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import orjson
from pydantic import ValidationError

from service.engine.promises import Kind, media_types
from service.errors import MalformedRequest, TransformFailed
from service.tensors import Array, Signature, Tensors
from service.wording import explain

Instance_contra = TypeVar("Instance_contra", contravariant=True)
Prediction_co = TypeVar("Prediction_co", covariant=True)
Run = Callable[[Tensors], Sequence[Array]]

# As many mistakes as an answer tells of.
_MOST_MISTAKES: Final = 10


class BadInstance(Exception):
    """The caller's mistake, in a sentence for the caller; `index` says which instance of the batch it is about."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


@dataclass(frozen=True, slots=True)
class Raw:
    """A raw body, of which `read` is going to make an instance."""

    body: bytes
    media_type: str


class Transform(Protocol[Instance_contra, Prediction_co]):
    """What a transform must have. It need not, and should not, inherit from this."""

    @property
    def Instance(self) -> Any:  # noqa: N802 - a class, or another type, and not a property
        """What callers send, one of them."""

    @property
    def Prediction(self) -> Any:  # noqa: N802
        """What they get for it."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the one that `model.toml` lies in."""

    def before(self, instances: Sequence[Instance_contra]) -> Mapping[str, Array]:
        """A batch as the model's inputs."""

    def after(self, outputs: Mapping[str, Array]) -> Sequence[Prediction_co]:
        """The model's outputs, its inputs beside them, as a prediction for each instance."""


class Loaded:
    """A model's transform as the service uses it: what it takes and gives is checked, what it raises is ours."""

    def __init__(self, model: str, version: int, signature: Signature, transform: Transform[Any, Any]) -> None:
        """Raises RepositoryError for types of which Pydantic knows nothing."""
        self._model = model
        self._version = version
        self._signature = signature
        self._transform = transform
        self._instance = Kind(type(transform), "Instance", "validation")
        self._prediction = Kind(type(transform), "Prediction", "serialization")
        self.media_types = media_types(transform)
        self._example: list[Any] | None = None

    def instance_schema(self) -> dict[str, Any]:
        """JSON Schema of what a caller sends."""
        return self._instance.schema

    def prediction_schema(self) -> dict[str, Any]:
        """JSON Schema of what a caller gets."""
        return self._prediction.schema

    def example(self) -> list[Any] | None:
        """Instances as JSON values that have run, else those that `Instance` itself shows as its examples."""
        return self._example or self._instance.examples

    def note_example(self, values: list[Any]) -> None:
        """They have run. The first ones are kept."""
        self._example = self._example or values

    def parse(self, values: Sequence[Any]) -> list[Any]:
        """JSON values as instances. Raises MalformedRequest, with the paths of what is wrong, ten at most."""
        instances: list[Any] = []
        mistakes: list[str] = []
        with self._guarded():
            for index, value in enumerate(values):
                try:
                    instances.append(self._instance.of_json(value))
                except ValidationError as error:
                    mistakes += explain(error, f"instances[{index}]", value)
                except BadInstance as mistake:
                    mistakes.append(_blamed(mistake, "instances", index, 1))
                if len(mistakes) >= _MOST_MISTAKES:
                    break
        if mistakes:
            raise MalformedRequest("; ".join(mistakes[:_MOST_MISTAKES]))
        return instances

    def read(self, raw: Raw) -> Any:
        """A raw body of one of `media_types` as an instance. Raises MalformedRequest, TransformFailed."""
        with self._guarded("body"):
            given = self._transform.read(raw.body, raw.media_type)  # type: ignore[attr-defined]
            try:
                return self._instance.of_python(given)
            except ValidationError as error:
                mistakes = explain(error, "body", given)
        raise MalformedRequest("; ".join(mistakes[:_MOST_MISTAKES]))

    def predict(self, instances: Sequence[Any], run: Run) -> list[Any]:
        """One prediction for each, in order; some may be raw bodies still.

        Raises MalformedRequest, TransformFailed, and whatever `run` raises.
        """
        instances = [self.read(each) if isinstance(each, Raw) else each for each in instances]
        size = len(instances) if self._signature.batch else 1
        predictions: list[Any] = []
        for start in range(0, len(instances), size or 1):
            some = instances[start : start + size]
            tensors = self.inputs(some, start)
            outputs = dict(zip(self._signature.output_names, run(tensors), strict=True))
            predictions += self._predictions(some, start, {**tensors, **outputs})
        return predictions

    def inputs(self, instances: Sequence[Any], start: int = 0) -> Tensors:
        """What the model is to be run with for a batch, whose first instance is the caller's number `start`."""
        with self._guarded("instances", start, len(instances)):
            made = self._transform.before(list(instances))  # its own list: it may do with it what it likes
            tensors = {name: _tensor(name, given) for name, given in made.items()}
            self._signature.check(tensors)
        return tensors

    def document(self, predictions: Sequence[Any]) -> list[Any]:
        """Predictions as JSON values. Raises TransformFailed for what has no JSON."""
        with self._guarded():
            values = [self._prediction.to_json(each) for each in predictions]
            for value in values:  # one by one: nobody else has a turn while orjson writes
                orjson.dumps(value)  # not all that is a number or a string to Python can be written
        return values

    def _predictions(self, instances: Sequence[Any], start: int, outputs: Tensors) -> list[Any]:
        with self._guarded("instances", start, len(instances)):
            predictions = list(self._transform.after(outputs))
            if len(predictions) != len(instances):
                raise ValueError(f"after: expected a prediction for each of {len(instances)}, got {len(predictions)}")
            return [self._checked(each, index) for index, each in enumerate(predictions)]

    def _checked(self, prediction: Any, index: int) -> Any:
        try:
            return self._prediction.of_python(prediction)
        except ValidationError as error:
            raise ValueError("; ".join(explain(error, f"after: predictions[{index}]"))) from None

    @contextmanager
    def _guarded(self, where: str = "instances", start: int = 0, count: int = 1) -> Iterator[None]:
        try:
            try:
                yield
            except BadInstance as mistake:
                blamed = _blamed(mistake, where, start, count)
            else:
                return
        except KeyboardInterrupt:
            raise
        # Also what is no Exception, such as the panic of an extension in Rust.
        except BaseException as error:
            raise TransformFailed(self._model, self._version) from error
        raise MalformedRequest(blamed)


def _blamed(mistake: BadInstance, where: str, start: int, count: int) -> str:
    """`instances[3]: ...`; where nobody says which of several it is, all of them. Raises ValueError, TypeError."""
    index = None if mistake.index is None else integer(mistake.index)
    if index is not None and not 0 <= index < count:
        raise ValueError(f"BadInstance: there is no instance {index} among {count}: {mistake}")
    if where != "instances" or (index is None and count != 1):
        return f"{where}: {mistake}"
    return f"{where}[{start + (index or 0)}]: {mistake}"


def _tensor(name: str, given: Any) -> Array:
    """Strings are made of an array of strings as numpy has them, too. Raises TypeError for what is no tensor."""
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "biufOU":
        kind = f"an array of {given.dtype}" if isinstance(given, np.ndarray) else f"an object of {type(given).__name__}"
        raise TypeError(f"before: input {name!r}: expected a numpy array of numbers or strings, got {kind}")
    return given.astype(np.object_) if given.dtype.kind == "U" else given
