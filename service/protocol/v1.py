"""The typed endpoint's request: KServe's protocol v1, which is TensorFlow Serving's predict API.

    {"instances": [row, ...]} -> {"predictions": [row, ...]}       by row
    {"inputs": column}        -> {"outputs": column}               by column

A row is an object of values by input name, or the bare value where the model has one input; `inputs` is the same of
columns, each of which has all rows. Answers are bare where there is one output. There are no datatypes and shapes in
the request: they are the model's. Its `parameters` are those of protocol v2; whatever else it has is passed over.
Source: tensorflow/serving, tensorflow_serving/g3doc/api_rest.md, "Predict API".
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from service import elements
from service.errors import CallerError, MalformedRequest
from service.knobs import Limits
from service.protocol import bounds, large, typed, values
from service.protocol.coded import all_decoded, is_coded
from service.protocol.document import parse, said
from service.protocol.document import weight as weight_of
from service.tensors import FREE, MAX_RANK, Array, Datatype, Signature, TensorSpec, quote, weight
from service.wording import path

ROWS: Final = "instances"
COLUMNS: Final = "inputs"


@dataclass(frozen=True, slots=True)
class Columns:
    """The inputs of a model. `timeout` is in seconds, infinite where there is none; the answer is `by_row` or not."""

    inputs: dict[str, Array]
    by_row: bool
    timeout: float = inf
    priority: int = 0
    allow_fallback: bool = False

    @property
    def weight(self) -> int:
        """The bytes of memory that the inputs take."""
        return sum(map(weight, self.inputs.values()))


@dataclass(frozen=True, slots=True)
class Instances:
    """The instances of a transform, which its own types have made of the caller's; `weight` is a guess."""

    instances: list[Any]
    weight: int
    timeout: float = inf
    priority: int = 0
    allow_fallback: bool = False


def decode(body: bytes, signature: Signature, limits: Limits) -> Columns:
    """A request body as tensors. Raises MalformedRequest, SignatureMismatch."""
    read = large.parse_rows(body, limits)
    document = parse(body, limits, of_rows=True) if read is None else read
    return columns(document, body, signature, limits, is_large=read is not None)


def columns(
    document: dict[str, Any], body: bytes, signature: Signature, limits: Limits, *, is_large: bool = False
) -> Columns:
    """The same of a body that has been parsed; one that `is_large` by `large`."""
    options = _options(document)
    by_row = _is_by_row(document, signature)
    try:
        inputs = _Decoder(body, signature, limits, is_large).inputs(document, by_row)
        signature.check(inputs)
    except CallerError as error:
        if not is_large and (complaints := _complaints(document, signature, by_row)):
            raise type(error)("; ".join(complaints)) from None
        raise
    return Columns(inputs, by_row, **options)


def decode_instances(body: bytes, make: Callable[[list[Any]], list[Any]], limits: Limits) -> Instances:
    """A request body as what a transform makes of its rows. Raises MalformedRequest, and whatever `make` raises."""
    document = parse(body, limits, of_rows=True)
    options = _options(document)
    rows = document.get(ROWS)
    if type(rows) is not list:
        got = repr(COLUMNS) if rows is None and COLUMNS in document else said(rows)
        raise MalformedRequest(f"{ROWS!r}: expected an array of what the model's transform takes, got {got}")
    return Instances(make(rows), weight_of(body), **options)


def _options(document: dict[str, Any]) -> dict[str, Any]:
    parameters = values.an_object("'parameters'", document.get("parameters"))
    return values.options(parameters) if parameters else {}


def _is_by_row(document: dict[str, Any], signature: Signature) -> bool:
    given = [f"{name!r}" for name in (ROWS, COLUMNS) if name in document]
    if len(given) != 1:
        got = " and ".join(given) or "neither"
        raise MalformedRequest(f"expected {ROWS!r}, an array of rows, or {COLUMNS!r}, the columns, got {got}")
    if ROWS not in document:
        return False
    if not signature.batch:
        raise MalformedRequest(f"{ROWS!r}: the model has no batch axis, and so no rows; send {COLUMNS!r}")
    if not isinstance(document[ROWS], list | large.Numbers):
        raise MalformedRequest(f"{ROWS!r}: expected an array of rows, got {said(document[ROWS])}")
    return True


def _is_bare(given: Any, signature: Signature) -> bool:
    """Is this a value, or a column, of the one input that there is, rather than an object with it?"""
    if len(signature.inputs) != 1:
        return False
    return type(given) is not dict or (signature.inputs[0].datatype is Datatype.BYTES and is_coded(given))


class _Decoder:
    """One request being read."""

    def __init__(self, body: bytes, signature: Signature, limits: Limits, is_large: bool) -> None:
        self._signature = signature
        self._is_large = is_large
        self._limits = limits
        self._size = len(body)
        self._booleans = b"true" in body or b"false" in body
        self._coded = b"b64" in body

    def inputs(self, document: dict[str, Any], by_row: bool) -> dict[str, Array]:
        columns = self._of_rows(document[ROWS]) if by_row else self._of_columns(document[COLUMNS])
        return {spec.name: self._tensor(spec, columns[spec.name]) for spec in self._signature.inputs}

    def _of_rows(self, given: Any) -> dict[str, Any]:
        names = self._signature.input_names
        rows = given if type(given) is list else [given]
        if not rows or _is_bare(rows[0], self._signature):
            return dict.fromkeys(names, given)
        for index, row in enumerate(rows):
            if type(row) is not dict or row.keys() != names:
                wanted = quote([spec.name for spec in self._signature.inputs])
                raise MalformedRequest(f"{ROWS}[{index}]: expected an object with {wanted}, got {said(row)}")
        return {name: [row[name] for row in rows] for name in names}

    def _of_columns(self, columns: Any) -> dict[str, Any]:
        if _is_bare(columns, self._signature):
            return {self._signature.inputs[0].name: columns}
        named = values.an_object(f"{COLUMNS!r}", columns)
        self._signature.require(named)
        return named

    def _tensor(self, spec: TensorSpec, data: Any) -> Array:
        what = f"input {spec.name!r}"
        if self._coded and spec.datatype is Datatype.BYTES:
            data = _decoded(what, data)
        shape = _meant(_shape(data), spec)
        if len(shape) > MAX_RANK:
            raise MalformedRequest(f"{what}: expected at most {MAX_RANK} dimensions, got {len(shape)}")
        bounds.check_elements(what, shape, self._limits.elements)
        if spec.datatype is Datatype.BYTES:
            bounds.check_elements(what, shape, self._limits.values)
        array = self._elements(what, spec.datatype, shape, data)
        bounds.check_strings(what, array, self._size, self._limits.string_bytes)
        return array

    def _elements(self, what: str, datatype: Datatype, shape: list[int], data: Any) -> Array:
        if isinstance(data, large.Numbers):
            return data.decode(what, datatype, tuple(shape))
        data = data if type(data) is list else [data]
        if self._is_large and any(isinstance(row, large.Numbers) for row in data):
            return large.decode_rows(what, datatype, shape, data)
        return elements.decode(what, datatype, shape, data, self._booleans)


def _shape(data: Any) -> list[int]:
    """As far as the first value of each level tells; whether the others agree is found where they are read."""
    shape: list[int] = []
    while type(data) is list:
        shape.append(len(data))
        data = data[0] if data else None
    return [*shape, *data.shape] if isinstance(data, large.Numbers) else shape


def _meant(shape: list[int], spec: TensorSpec) -> list[int]:
    """A last dimension of 1 may be left out; what comes behind an empty array is what the model says."""
    wanted = spec.shape or ()
    if 0 in shape and len(shape) < len(wanted):
        return [*shape, *(1 if length == FREE else length for length in wanted[len(shape) :])]
    if len(shape) + 1 == len(wanted) and wanted[-1] == 1:
        return [*shape, 1]
    return shape


def _decoded(what: str, data: Any) -> Any:
    try:
        return all_decoded(data)
    except ValueError as error:
        raise MalformedRequest(f"{what}: {error}") from None


def _complaints(document: dict[str, Any], signature: Signature, by_row: bool) -> list[str]:
    """What is wrong with a request that could not be read, by its paths; nothing where nobody knows better."""
    given = document[ROWS] if by_row else document[COLUMNS]
    is_bare = _is_bare(given[0] if by_row and given else given, signature)
    found = typed.complaints(document, signature, by_row=by_row, is_bare=is_bare)
    if not found:  # so its form is right, and columns can be made of it
        names = [""] if is_bare else [spec.name for spec in signature.inputs]
        found = [complaint for name in names if (complaint := _unlike(given, name, by_row))]
    return found


def _unlike(given: Any, name: str, by_row: bool) -> str:
    """Which two rows of an input, or of the only one, differ in shape, if any do."""
    rows = given if not name else [row[name] for row in given] if by_row else given[name]
    first = None
    for index, row in enumerate(rows if type(rows) is list else ()):
        shape = _shape(row)
        first = shape if first is None else first
        if shape != first:
            one, other = (_path(name, place, by_row) for place in (0, index))
            return f"{one} has the shape {first}, {other} {shape}: send rows that differ in requests of their own"
    return ""


def _path(name: str, place: int, by_row: bool) -> str:
    steps = (place, name) if by_row else (name, place)
    return path(ROWS if by_row else COLUMNS, [step for step in steps if step != ""])
