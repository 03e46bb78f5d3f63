"""What the typed endpoint of one version takes and answers, as the OpenAPI document has it.

Its schemas are components of the document, so that a client that is generated from it has a class for each.
"""

import re
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from service.engine.model import Model
from service.engine.transform import Loaded
from service.protocol import typed
from service.web.components import Components, Schemas
from service.web.examples import typed_example
from service.web.schemas import TIMEOUTS

_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}
_PARAMETERS: Final = typed.TransformParameters.__name__


class Described(NamedTuple):
    """Schemas of what a version takes and answers."""

    asked: Schemas
    answered: Schemas


def title_of(model: Model, is_default: bool) -> str:
    """A name for classes, `Digits` of `digits`."""
    title = "".join(word[:1].upper() + word[1:] for word in re.split("[^A-Za-z0-9]+", model.name))
    title = title if title[:1].isalpha() else f"Model{title}"
    return title if is_default else f"{title}V{model.version}"


def describe(model: Model, title: str, components: Components) -> Described:
    """The components' names begin with `title`."""
    if model.transform:
        return _transformed(model.transform, title, components)
    forms = typed.forms(title, model.signature)
    asked = [_component(form, components) for form in (forms.rows, forms.columns) if form]
    answered = [_component(form, components) for form in (forms.predictions, forms.outputs) if form]
    return Described(_one_of(asked), _one_of(answered))


def operation(model: Model, identity: str, described: Described) -> dict[str, Any]:
    json: dict[str, Any] = {"schema": described.asked}
    if (sample := typed_example(model)) is not None:
        json["example"] = sample
    raw = model.transform.media_types if model.transform else ()
    answer = {"application/json": {"schema": described.answered}}
    return {
        "tags": ["models"],
        "summary": f"Predict with {model.name} version {model.version}",
        "operationId": identity,
        "parameters": TIMEOUTS,
        "requestBody": {"required": True, "content": {"application/json": json, **dict.fromkeys(raw, _BYTES)}},
        "responses": {"200": {"description": "The predictions", "content": answer}},
    }


def _transformed(transform: Loaded, title: str, components: Components) -> Described:
    def added(name: str, schema: Schemas) -> Schemas:
        return components.add(f"{title}{name}", schema, f"{title}{name}")

    rows = _array("instances", added("Instance", transform.instance_schema()))
    rows["properties"]["parameters"] = {"anyOf": [{"$ref": f"#/$defs/{_PARAMETERS}"}, {"type": "null"}]}
    rows["$defs"] = {_PARAMETERS: typed.TransformParameters.model_json_schema()}
    predictions = _array("predictions", added("Prediction", transform.prediction_schema()))
    return Described(components.add(f"{title}Rows", rows), components.add(f"{title}PredictionsAnswer", predictions))


def _component(form: type[BaseModel], components: Components) -> Schemas:
    return components.add(form.__name__, form.model_json_schema())


def _array(field: str, item: Schemas) -> Schemas:
    return {"type": "object", "required": [field], "properties": {field: {"type": "array", "items": item}}}


def _one_of(schemas: list[Schemas]) -> Schemas:
    return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
