"""A signature as Pydantic models: the rows, the columns and the answers of the typed endpoint.

They are its documentation, and say where a request is wrong that could not be read. Values themselves are read by
`elements`, which takes a fraction of the time.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError, WithJsonSchema
from pydantic import create_model as create

from service.protocol.coded import decoded, is_coded
from service.tensors import FREE, Datatype, Signature, TensorSpec, limits_of
from service.wording import explain

# As many complaints as one sentence has.
_MOST: Final = 10


class TransformParameters(BaseModel):
    """How a request is run, by a model with a transform."""

    timeout: Annotated[int, Field(ge=0, description="In microseconds; 0 for none.")] | None = None
    priority: Annotated[int, Field(ge=0, description="A level, of which 1 runs first; 0 says nothing.")] | None = None


class PredictParameters(TransformParameters):
    """How a request is run."""

    allow_fallback: (
        Annotated[bool, Field(description="Where the model is overloaded, its smaller one may answer.")] | None
    ) = None


class AnswerParameters(BaseModel):
    """What else there is to say of an answer."""

    fallback_for: str | None = Field(None, description="The model asked for, where its smaller one has answered.")


class Forms(NamedTuple):
    """What is asked and answered, by row and by column. Without a batch axis there are no rows."""

    rows: type[BaseModel] | None
    columns: type[BaseModel]
    predictions: type[BaseModel] | None
    outputs: type[BaseModel]


def forms(title: str, signature: Signature) -> Forms:
    """Their names begin with `title`."""
    inputs, outputs = signature.inputs, signature.outputs
    told: Any = (AnswerParameters | None, None)
    columns = _request(f"{title}Columns", "inputs", _object(f"{title}Inputs", inputs, _column))
    values = create(f"{title}OutputsAnswer", outputs=(_answer(f"{title}Outputs", outputs, 0), ...), parameters=told)
    if not signature.batch:
        return Forms(None, columns, None, values)
    rows = _request(f"{title}Rows", "instances", _array(_object(f"{title}Instance", inputs, _row)))
    prediction = _answer(f"{title}Prediction", outputs, 1)
    predictions = create(f"{title}PredictionsAnswer", predictions=(_array(prediction), ...), parameters=told)
    return Forms(rows, columns, predictions, values)


def complaints(document: dict[str, Any], signature: Signature, *, by_row: bool, is_bare: bool) -> list[str]:
    """What is wrong with a request, each with its path; nothing, where that is no matter of types and lengths.

    `is_bare` says that values stand where otherwise there would be objects of one input.
    """
    try:
        _asked(signature, by_row, is_bare).model_validate(document)
    except ValidationError as error:
        return explain(error)[:_MOST]
    return []


@lru_cache(128)
def _asked(signature: Signature, by_row: bool, is_bare: bool) -> type[BaseModel]:
    field, of = ("instances", _row) if by_row else ("inputs", _column)
    kind = of(signature.inputs[0]) if is_bare else _object("Instance", signature.inputs, of)
    return _request("Request", field, _array(kind) if by_row else kind)


def _request(title: str, field: str, kind: Any) -> type[BaseModel]:
    form: Any = {field: (kind, ...), "parameters": (PredictParameters | None, None)}
    model: type[BaseModel] = create(title, __config__=ConfigDict(strict=True), **form)
    return model


def _object(title: str, specs: Sequence[TensorSpec], kind: Any) -> Any:
    """By the tensors' names, which may be anything; a field's may not."""
    fields: Any = {
        f"tensor_{index}": (kind(spec), Field(alias=spec.name, title=spec.name, description=_described(spec)))
        for index, spec in enumerate(specs)
    }
    return create(title, __config__=ConfigDict(strict=True, extra="forbid"), **fields)


def _described(spec: TensorSpec) -> str:
    labels = f"; the last axis is {', '.join(spec.labels)}" if spec.labels else ""
    return f"{spec}{labels}"


def _answer(title: str, specs: Sequence[TensorSpec], first: int) -> Any:
    """One output is a bare value. Dimensions are told from the `first` on."""

    def kind(spec: TensorSpec) -> Any:
        return Any if spec.shape is None else _nested(_answered(spec.datatype), spec.shape[first:])

    if len(specs) == 1:
        return Annotated[kind(specs[0]), Field(title=title, description=_described(specs[0]))]
    return _object(title, specs, kind)


def _row(spec: TensorSpec) -> Any:
    return _given(spec, 1)


def _column(spec: TensorSpec) -> Any:
    return _given(spec, 0)


def _given(spec: TensorSpec, first: int) -> Any:
    """What is last a dimension of 1 may be left out."""
    if spec.shape is None:
        return Any
    element, sizes = _element(spec.datatype), spec.shape[first:]
    if sizes[-1:] == (1,):
        element, sizes = Annotated[element, BeforeValidator(_single)], sizes[:-1]
    return _nested(element, sizes)


def _nested(element: Any, sizes: Sequence[int]) -> Any:
    for size in reversed(sizes):
        element = _array(element)
        if size != FREE:
            lengths: Any = {"minItems": size, "maxItems": size}
            element = Annotated[element, BeforeValidator(partial(_of_length, size)), Field(json_schema_extra=lengths)]
    return element


def _of_length(size: int, value: Any) -> Any:
    if type(value) is list and len(value) != size:
        raise ValueError(f"expected {size} elements, got {len(value)}")
    return value


def _array(element: Any) -> Any:
    """The first that is wrong in it will do."""
    return Annotated[list[element], FailFast()]


def _element(datatype: Datatype) -> Any:
    if datatype is Datatype.BYTES:
        return Annotated[str, BeforeValidator(_text)]
    if datatype is Datatype.BOOL:
        return Annotated[bool, BeforeValidator(_truth)]
    if datatype.is_integer:
        low, high = limits_of(datatype)
        return Annotated[int, Field(ge=low, le=high)]
    most = float(np.finfo(datatype.numpy).max)
    return Annotated[float, Field(ge=-most, le=most), WithJsonSchema({"type": "number"})]


def _answered(datatype: Datatype) -> Any:
    """JSON has no NaN and no infinities: they are null."""
    if datatype.is_float:
        return float | None
    return _element(datatype)


def _single(value: Any) -> Any:
    return value[0] if type(value) is list and len(value) == 1 else value


def _text(value: Any) -> Any:
    return decoded(value) if is_coded(value) else value


def _truth(value: Any) -> Any:
    return bool(value) if type(value) is int and value in (0, 1) else value
