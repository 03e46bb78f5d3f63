"""What the typed endpoint of one version takes and answers, as the OpenAPI document has it.

Its schemas are components of the document, so that a client that is generated from it has a class for each.
"""

import re
from collections.abc import Container
from typing import Any, Final

from pydantic import BaseModel

from service.engine.model import Model
from service.engine.transform import Loaded
from service.protocol import typed
from service.web.examples import typed_example
from service.web.schemas import TIMEOUTS

Schemas = dict[str, Any]

COMPONENTS: Final = "#/components/schemas/"
_DEFINITIONS: Final = "#/$defs/"
_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}


def title_of(model: Model, is_default: bool, taken: Container[str]) -> str:
    """A name for classes, `Digits` of `digits`, that no other has."""
    title = "".join(word[:1].upper() + word[1:] for word in re.split("[^A-Za-z0-9]+", model.name))
    title = title if title[:1].isalpha() else f"Model{title}"
    title = title if is_default else f"{title}V{model.version}"
    number = 2
    unique = title
    while unique in taken:
        unique = f"{title}N{number}"
        number += 1
    return unique


def operation(model: Model, path: str, title: str, schemas: Schemas) -> dict[str, Any]:
    """`schemas` gets what it refers to."""
    transform = model.transform
    asked, answered = _transformed(transform, title, schemas) if transform else _plain(model, title, schemas)
    json: dict[str, Any] = {"schema": asked}
    if (sample := typed_example(model)) is not None:
        json["example"] = sample
    raw = transform.media_types if transform else ()
    return {
        "tags": ["models"],
        "summary": f"Predict with {model.name} version {model.version}",
        "operationId": "predict" + re.sub("[/:]", "_", path.removesuffix(":predict").removeprefix("/v1/models")),
        "parameters": TIMEOUTS,
        "requestBody": {"required": True, "content": {"application/json": json, **dict.fromkeys(raw, _BYTES)}},
        "responses": {"200": {"description": "The predictions", "content": {"application/json": {"schema": answered}}}},
    }


def _plain(model: Model, title: str, schemas: Schemas) -> tuple[Schemas, Schemas]:
    forms = typed.forms(title, model.signature)
    asked = [_component(form, schemas) for form in (forms.rows, forms.columns) if form]
    answered = [_component(form, schemas) for form in (forms.predictions, forms.outputs) if form]
    return _one_of(asked), _one_of(answered)


def _transformed(transform: Loaded, title: str, schemas: Schemas) -> tuple[Schemas, Schemas]:
    instance = _hoisted(f"{title}Instance", transform.instance_schema(), schemas)
    prediction = _hoisted(f"{title}Prediction", transform.prediction_schema(), schemas)
    schemas[f"{title}Rows"] = _rows("instances", instance, f"{title}Rows", parameters=True)
    schemas[f"{title}PredictionsAnswer"] = _rows("predictions", prediction, f"{title}PredictionsAnswer")
    schemas.setdefault("PredictParameters", typed.PredictParameters.model_json_schema())
    return _ref(f"{title}Rows"), _ref(f"{title}PredictionsAnswer")


def _rows(field: str, item: Schemas, title: str, parameters: bool = False) -> Schemas:
    more = {"parameters": {"anyOf": [_ref("PredictParameters"), {"type": "null"}]}} if parameters else {}
    return {
        "title": title,
        "type": "object",
        "required": [field],
        "properties": {field: {"type": "array", "items": item}, **more},
    }


def _ref(name: str) -> Schemas:
    return {"$ref": f"{COMPONENTS}{name}"}


def _one_of(schemas: list[Schemas]) -> Schemas:
    return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}


def _component(form: type[BaseModel], schemas: Schemas) -> Schemas:
    schema = form.model_json_schema(ref_template=COMPONENTS + "{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[form.__name__] = schema
    return _ref(form.__name__)


def _hoisted(name: str, schema: Schemas, schemas: Schemas) -> Schemas:
    """What a schema defines for itself becomes components, whose names begin with its own."""
    moved = _moved(schema, f"{COMPONENTS}{name}")
    for inner, definition in moved.pop("$defs", {}).items():
        schemas[f"{name}{inner}"] = {**definition, "title": f"{name}{inner}"}
    schemas[name] = {**moved, "title": name}
    return _ref(name)


def _moved(value: Any, place: str) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, place) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, place) for item in value]
    if isinstance(value, str) and value.startswith(_DEFINITIONS):
        return place + value.removeprefix(_DEFINITIONS)
    return value
