"""What the document says of the typed endpoint: a component for each form, and an example that is answered."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from openapi_spec_validator import validate

from service.engine.catalogue import Catalogue
from service.engine.warm_up import warm_up
from service.knobs import Limits
from service.protocol import v1
from service.web.examples import typed_example
from service.web.openapi import Document
from service.web.typed import title_of
from tests import tiny
from tests.oip import Json
from tests.unit.loading import load, transforming

TREES = '''
from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field


class Leaf(BaseModel):
    """An inner type."""

    size: float = Field(examples=[2])


class Trees:
    class Instance(BaseModel):
        leaves: list[Leaf]

    Prediction = float

    media_types = ("image/png",)

    def read(self, body, media_type):
        return self.Instance(leaves=[])

    def before(self, instances):
        return {"x": np.array([[leaf.size for leaf in each.leaves] for each in instances], np.float32)}

    def after(self, outputs):
        return outputs["y"].sum(axis=1)
'''


def served(root: Path, proto: Any, *versions: int, name: str = "cat", **declared: Any) -> Catalogue:
    models = [load(proto, root, name, version, **declared) for version in versions or (1,)]
    for model in models:
        warm_up(model)
    return Catalogue(1, models)


def render(catalogue: Catalogue) -> Json:
    return Document(FastAPI(title="Cats", version="9")).render(catalogue)


def operation(document: Json, path: str = "/v1/models/cat:predict") -> Json:
    found: Json = document["paths"][path]["post"]
    return found


def schemas(document: Json, *names: str) -> list[Json]:
    return [document["components"]["schemas"][name] for name in names]


def test_the_document_of_every_kind_of_model_is_one(catalogue: Catalogue) -> None:
    document = render(catalogue)
    validate(json.loads(json.dumps(document)))
    assert len(document["paths"]) > 40


def test_a_row_is_described_by_its_inputs_and_outputs(tmp_path: Path) -> None:
    document = render(served(tmp_path, tiny.add_sub()))
    found = operation(document)
    [instance, prediction] = schemas(document, "CatInstance", "CatPrediction")
    assert (found["operationId"], found["summary"]) == ("predict_cat", "Predict with cat version 1")
    numbers = {
        "type": "array",
        "items": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        "minItems": 16,
        "maxItems": 16,
    }
    described = {"description": "INT32[-1,16]"}
    assert instance == {
        "type": "object",
        "title": "CatInstance",
        "properties": {name: numbers | described | {"title": name} for name in "ab"},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    assert prediction == instance | {
        "title": "CatPrediction",
        "properties": {name: numbers | described | {"title": name} for name in ("sum", "difference")},
        "required": ["sum", "difference"],
    }


def test_rows_and_columns_are_told_apart(tmp_path: Path) -> None:
    document = render(served(tmp_path, tiny.double()))
    found = operation(document)
    asked = found["requestBody"]["content"]["application/json"]
    answered = found["responses"]["200"]["content"]["application/json"]["schema"]
    assert asked["schema"] == {"oneOf": [{"$ref": f"#/components/schemas/Cat{form}"} for form in ("Rows", "Columns")]}
    assert answered == {
        "oneOf": [{"$ref": f"#/components/schemas/Cat{form}Answer"} for form in ("Predictions", "Outputs")]
    }
    [rows, answer] = schemas(document, "CatRows", "CatPredictionsAnswer")
    assert rows["properties"]["instances"]["items"] == {"$ref": "#/components/schemas/CatInstance"}
    assert answer["properties"]["predictions"]["items"] == {
        "type": "array",
        "title": "CatPrediction",
        "description": "FP32[-1,4]",
        "items": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "minItems": 4,
        "maxItems": 4,
    }


def test_a_model_without_a_batch_axis_has_columns_alone(tmp_path: Path) -> None:
    document = render(served(tmp_path, tiny.scalar()))
    schema = operation(document)["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/CatColumns"}
    assert "CatRows" not in document["components"]["schemas"]
    [inputs] = schemas(document, "CatInputs")
    assert inputs["properties"]["x"]["type"] == "number"


def test_free_lengths_are_free_and_an_open_rank_is_any_value(tmp_path: Path) -> None:
    document = render(served(tmp_path, tiny.unknown_rank()))
    [inputs] = schemas(document, "CatInputs")
    assert inputs["properties"]["x"] == {"title": "x", "description": "FP32[...]"}
    document = render(served(tmp_path / "other", tiny.two_free()))
    [inputs] = schemas(document, "CatInputs")
    assert inputs["properties"]["a"] == {
        "title": "a",
        "description": "FP32[-1]",
        "type": "array",
        "items": {"type": "number"},
    }


@pytest.mark.parametrize(
    ("name", "is_default", "title"),
    [
        ("cat", True, "Cat"),
        ("my-big_cat.v2", True, "MyBigCatV2"),
        ("myCat", True, "MyCat"),
        ("3d", True, "Model3d"),
        ("cat", False, "CatV1"),
    ],
)
def test_each_version_has_a_name_for_its_classes(tmp_path: Path, name: str, is_default: bool, title: str) -> None:
    model = served(tmp_path, tiny.double(), name=name).resolve(name)
    assert title_of(model, is_default) == title


def test_no_two_models_share_classes(tmp_path: Path) -> None:
    """A generated client has one file for ABRows and AbRows."""
    models = [load(tiny.double(), tmp_path, name) for name in ("a-b", "a_b", "ab", "a_versions_1", "model_name")]
    models += [load(tiny.double(), tmp_path, "a", version) for version in (1, 2)]
    document = render(Catalogue(1, models))
    validate(json.loads(json.dumps(document)))
    names = {name.casefold() for name in document["components"]["schemas"]}
    assert len(names) == len(document["components"]["schemas"])
    assert {"ABRows", "ABN2Rows", "AbN3Rows"} <= document["components"]["schemas"].keys()
    asked = operation(document, "/v1/models/ab:predict")["requestBody"]["content"]["application/json"]["schema"]
    assert asked["oneOf"][0] == {"$ref": "#/components/schemas/AbN3Rows"}
    assert operation(document, "/v1/models/{model_name}:predict")["operationId"] == "predict_model_name"
    assert operation(document, "/v1/models/model_name:predict")["operationId"] == "predict_model_nameN2"
    assert operation(document, "/v1/models/a_versions_1:predict")["operationId"] == "predict_a_versions_1N2"
    assert operation(document, "/v1/models/a/versions/1:predict")["operationId"] == "predict_a_versions_1"


def test_both_paths_of_a_version_have_its_classes(tmp_path: Path) -> None:
    document = render(served(tmp_path, tiny.double()))
    short, long = (operation(document, f"/v1/models/cat{version}:predict") for version in ("", "/versions/1"))
    assert (short["requestBody"], short["responses"]) == (long["requestBody"], long["responses"])


def test_versions_do_not_share_classes(tmp_path: Path) -> None:
    document = render(served(tmp_path, tiny.double(), 1, 2))
    assert {"CatInstance", "CatV1Instance"} <= document["components"]["schemas"].keys()


def test_a_transform_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    document = render(Catalogue(1, [transforming(TREES, tiny.identity("FP32"), tmp_path)]))
    validate(json.loads(json.dumps(document)))
    found = operation(document, "/v1/models/tiny:predict")
    [instance, leaf, prediction, rows] = schemas(
        document, "TinyInstance", "TinyInstanceLeaf", "TinyPrediction", "TinyRows"
    )
    assert instance["properties"]["leaves"]["items"] == {"$ref": "#/components/schemas/TinyInstanceLeaf"}
    assert (leaf["title"], leaf["required"], prediction) == (
        "TinyInstanceLeaf",
        ["size"],
        {"type": "number", "title": "TinyPrediction"},
    )
    assert rows["properties"] == {
        "instances": {"type": "array", "items": {"$ref": "#/components/schemas/TinyInstance"}},
        "parameters": {"anyOf": [{"$ref": "#/components/schemas/TransformParameters"}, {"type": "null"}]},
    }
    assert schemas(document, "TransformParameters")[0]["properties"].keys() == {"timeout", "priority"}
    assert found["requestBody"]["content"]["image/png"] == {"schema": {"type": "string", "format": "binary"}}
    assert found["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/TinyRows"}


RECURSIVE = """
from __future__ import annotations

import numpy as np
from pydantic import BaseModel


class Chain(BaseModel, json_schema_extra={"examples": [{"link": 1, "next": {"link": 2}}]}):
    link: float
    next: Chain | None = None


class Chains:
    Instance = Prediction = Chain

    def before(self, instances):
        return {"x": np.array([[each.link, each.next.link] for each in instances], np.float32)}

    def after(self, outputs):
        return [Chain(link=row[0]) for row in outputs["y"]]
"""


def test_a_type_that_holds_itself_has_its_examples(tmp_path: Path) -> None:
    model = transforming(RECURSIVE, tiny.identity("FP32"), tmp_path)
    warm_up(model)
    document = render(Catalogue(1, [model]))
    validate(json.loads(json.dumps(document)))
    shown = [{"link": 1, "next": {"link": 2}}]
    asked = operation(document, "/v1/models/tiny:predict")["requestBody"]["content"]["application/json"]
    assert asked["example"] == {"instances": shown}
    assert schemas(document, "TinyInstance")[0]["examples"] == shown
    assert {name: tensor.tolist() for name, tensor in model.example.items()} == {"x": [[1, 2]]}


@pytest.mark.parametrize(
    ("proto", "warm_up", "found"),
    [
        (tiny.double(), [], {"instances": [{"x": [1, 1, 1, 1]}]}),
        (
            tiny.identity("FP64"),
            [{"x": {"shape": [2, 2], "data": [0.5, 2, 3, 4]}}],
            {"instances": [{"x": [0.5, 2]}, {"x": [3, 4]}]},
        ),
        (tiny.scalar(), [], {"inputs": {"x": 1}}),
        (tiny.identity("BYTES"), [], {"instances": [{"x": ["text"]}]}),
        (tiny.identity("INT8"), [{"x": {"shape": [1, 4097]}}], None),
        (tiny.constant(), [], None),
    ],
)
def test_an_example_is_a_request_that_can_be_sent(tmp_path: Path, proto: Any, warm_up: Any, found: Any) -> None:
    model = served(tmp_path, proto, warm_up=warm_up).resolve("cat")
    assert typed_example(model) == found
    if found:
        asked = v1.decode(json.dumps(found).encode(), model.signature, Limits())
        assert {name: value.tolist() for name, value in asked.inputs.items()} == {
            name: value.tolist() for name, value in model.example.items()
        }
