"""The OpenAPI document: a path for each version that is served, with its signature and an example that works."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from fastapi import FastAPI

from service.engine.catalogue import Catalogue
from service.engine.warm_up import warm_up
from service.tensors import DATATYPES
from service.web.examples import example
from service.web.openapi import Document
from service.web.routes import EMBEDDINGS_ROUTE, ROUTE, ROUTES
from tests import tiny
from tests.oip import Json, tensor
from tests.unit.loading import load

BYTES = {"schema": {"type": "string", "format": "binary"}}
OF_INFERENCE = {
    str(status): {"$ref": f"#/components/responses/Problem{status}"}
    for status in (400, 401, 403, 404, 408, 413, 414, 415, 431, 500, 503, 504)
}
HEADERS = [
    {
        "name": name,
        "in": "header",
        "description": f"How long {who} waits, in milliseconds; 0 for none.",
        "schema": {"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,6})?$"},
    }
    for name, who in (("X-Request-Timeout-Ms", "the caller"), ("x-envoy-expected-rq-timeout-ms", "Envoy"))
] + [
    {
        "name": "grpc-timeout",
        "in": "header",
        "description": "How long a gRPC caller waits.",
        "schema": {"type": "string", "pattern": "^([0-9]{1,8})([HMSmun])$"},
    },
    {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "The bytes of JSON in front of binary tensors; 0 where the body is the one input itself.",
        "schema": {"type": "integer", "minimum": 0},
    },
]
PARAMETERS = {
    "type": "object",
    "properties": {
        "timeout": {"type": "integer", "minimum": 0, "description": "In microseconds; 0 for none."},
        "priority": {"type": "integer", "minimum": 0, "description": "A level, of which 1 runs first; 0 says nothing."},
        "allow_fallback": {
            "type": "boolean",
            "description": "Where the model is overloaded, its smaller one may answer.",
        },
        "binary_data_output": {"type": "boolean", "description": "Answer with binary tensors."},
    },
}
OF_AN_OUTPUT = {
    "type": "object",
    "properties": {
        "binary_data": {"type": "boolean", "description": "Answer with this one as a binary tensor, or not."},
        "classification": {
            "type": "integer",
            "minimum": 0,
            "description": "Answer with so many of its greatest numbers, as `value:index:label`; 0 for all of them.",
        },
    },
}
CLASSES = {
    "type": "object",
    "title": "classes",
    "description": "In place of an output's numbers, where `classification` is asked for.",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"enum": ["y"]},
        "datatype": {"const": "BYTES"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "array", "items": {"type": "string"}},
    },
}
ANSWERED = {
    "type": "object",
    "properties": {
        "fallback_for": {"type": "string", "description": "The model asked for, where its smaller one has answered."}
    },
}
OWN = ["/own/{number}", *ROUTES, EMBEDDINGS_ROUTE]
PROBLEM = {"$ref": "#/components/schemas/Problem"}


def cats(root: Path, *versions: int, proto: onnx.ModelProto | None = None, **declared: Any) -> Catalogue:
    """A warmed-up `cat` in these versions."""
    models = [load(proto or tiny.double(), root, "cat", version, **declared) for version in versions]
    for model in models:
        warm_up(model)
    return Catalogue(1, models)


def app() -> FastAPI:
    """One route of its own, which takes a number and so may refuse."""
    made = FastAPI(title="Cats", version="9", description="About cats.")

    @made.get("/own/{number}")
    def own(number: int) -> str:
        return str(number)

    return made


def render(catalogue: Catalogue, root_path: str = "") -> Json:
    return Document(app(), root_path).render(catalogue)


def operation(catalogue: Catalogue, path: str = "/v2/models/cat/infer") -> Json:
    found: Json = render(catalogue)["paths"][path]["post"]
    return found


@pytest.mark.parametrize(
    ("versions", "declared", "paths"),
    [
        ([3], {}, ["", "/versions/3"]),
        ([1, 2], {}, ["/versions/1", "", "/versions/2"]),
        ([1, 2], {"default_version": 1}, ["", "/versions/1", "/versions/2"]),
        ([], {}, []),
    ],
)
def test_each_version_has_a_path_and_the_default_a_short_one(
    tmp_path: Path, versions: list[int], declared: Json, paths: list[str]
) -> None:
    document = render(cats(tmp_path, *versions, **declared))
    named = list(document["paths"])[len(OWN) :]
    assert list(document["paths"])[: len(OWN)] == OWN
    assert [path for path in named if path.startswith("/v2")] == [f"/v2/models/cat{path}/infer" for path in paths]
    assert [path for path in named if path.startswith("/v1")] == [f"/v1/models/cat{path}:predict" for path in paths]
    operations = [path["post"] for name, path in document["paths"].items() if name.startswith("/v")]
    identities = [each["operationId"] for each in operations]
    assert len(set(identities)) == len(identities)


def test_a_path_says_all_that_a_client_needs(tmp_path: Path) -> None:
    def described(name: str, element: Json, labels: str = "", *others: Json) -> Json:
        return {
            "type": "array",
            "items": {
                "anyOf": [
                    {
                        "type": "object",
                        "title": name,
                        "description": f"FP32[-1,4]{labels}",
                        "required": ["name", "datatype", "shape"],
                        "properties": {
                            "name": {"const": name},
                            "datatype": {"const": "FP32"},
                            "shape": {
                                "type": "array",
                                "items": {"type": "integer", "minimum": 0},
                                "description": "[-1, 4], where -1 stands for any size",
                            },
                            "data": {
                                "type": "array",
                                "items": element,
                                "description": "Flat and row-major, or nested.",
                            },
                        },
                    },
                    *others,
                ]
            },
        }

    text = {"type": "string"}
    served = cats(tmp_path, 3, labels={"y": ["n", "e", "s", "w"]})
    assert operation(served, "/v2/models/cat/versions/3/infer") == {
        "tags": ["models"],
        "summary": "Run cat version 3",
        "operationId": "infer_cat_versions_3",
        "parameters": HEADERS,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["inputs"],
                        "properties": {
                            "id": text | {"description": "Comes back in the answer."},
                            "parameters": PARAMETERS,
                            "inputs": described("x", {"type": "number"}),
                            "outputs": {
                                "type": "array",
                                "description": "The outputs to answer with, all of them by default.",
                                "items": {
                                    "type": "object",
                                    "required": ["name"],
                                    "properties": {"name": {"enum": ["y"]}, "parameters": OF_AN_OUTPUT},
                                },
                            },
                        },
                    },
                    "example": {"inputs": [tensor("x", "FP32", [1, 4], [1, 1, 1, 1])]},
                },
                "application/octet-stream": BYTES,
            },
        },
        "responses": {
            "200": {
                "description": "The outputs",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["model_name", "model_version", "id", "outputs"],
                            "properties": {
                                "model_name": text,
                                "model_version": text,
                                "id": text,
                                "outputs": described(
                                    "y", {"type": ["number", "null"]}, "; the last axis is n, e, s, w", CLASSES
                                ),
                                "parameters": ANSWERED,
                            },
                        }
                    },
                    "application/octet-stream": BYTES,
                },
            },
            **OF_INFERENCE,
        },
    }


@pytest.mark.parametrize(
    ("path", "identity", "names"),
    [
        ("/v2/models/{model_name}/infer", "infer_model_name", ["model_name"]),
        (
            "/v2/models/{model_name}/versions/{model_version}/infer",
            "infer_model_name_model_version",
            ["model_name", "model_version"],
        ),
    ],
)
def test_the_inference_routes_of_all_models_are_listed(path: str, identity: str, names: list[str]) -> None:
    assert operation(Catalogue(1, ()), path) == {
        "tags": ["inference"],
        "summary": "Run a model",
        "description": "The paths of the single models have their signatures and examples.",
        "operationId": identity,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            *HEADERS,
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}, "application/octet-stream": BYTES},
        },
        "responses": {
            "200": {
                "description": "The outputs",
                "content": {"application/json": {"schema": {"type": "object"}}, "application/octet-stream": BYTES},
            },
            **OF_INFERENCE,
        },
    }


@pytest.mark.parametrize("place", ["", "/versions/{model_version}"])
def test_streams_are_listed_with_what_they_write(place: str) -> None:
    found = operation(Catalogue(1, ()), f"/v2/models/{{model_name}}{place}/infer_stream")
    assert list(found["requestBody"]["content"]) == ["application/json", "application/octet-stream"]
    assert "application/x-ndjson" in found["responses"]["200"]["description"]
    assert list(found["responses"]["200"]["content"]) == ["text/event-stream", "application/x-ndjson"]
    assert found["operationId"].startswith("infer_stream_model_name")


def test_every_answer_that_is_no_success_is_a_problem(tmp_path: Path) -> None:
    document = render(cats(tmp_path, 1))
    responses = [operation["responses"] for path in document["paths"].values() for operation in path.values()]
    everywhere = ["200", "401", "403", "414", "431", "500", "503"]
    assert [list(each) for each in responses] == [everywhere] + [["200", *OF_INFERENCE]] * 11
    assert document["components"]["responses"]["Problem413"] == {
        "description": "answer_too_large or request_too_large",
        "content": {"application/json": {"schema": PROBLEM}},
    }
    named = {
        code.rpartition("/")[2] for each in responses for status in each.values() for code in [status.get("$ref", "")]
    }
    assert named - {""} <= document["components"]["responses"].keys()
    assert document["components"]["schemas"]["Problem"] == {
        "type": "object",
        "required": ["error", "code", "request_id"],
        "properties": {"error": {"type": "string"}, "code": {"type": "string"}, "request_id": {"type": "string"}},
    }


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        (503, {"503": "draining or model_not_ready or overloaded"}),
        (429, {"429": "overloaded", "503": "draining or model_not_ready"}),
    ],
)
def test_what_is_said_under_overload_is_what_the_operator_wants(status: int, codes: dict[str, str]) -> None:
    document = Document(app(), overload_status=status).render(Catalogue(1, ()))
    responses = document["paths"][ROUTE]["post"]["responses"]
    assert responses.keys() == OF_INFERENCE.keys() | codes.keys() | {"200"}
    problems = document["components"]["responses"]
    assert {code: problems[f"Problem{code}"]["description"] for code in codes} == codes
    assert str(429) not in document["paths"]["/own/{number}"]["get"]["responses"]


@pytest.mark.parametrize(("root_path", "servers"), [("", None), ("/behind", [{"url": "/behind"}])])
def test_the_document_says_whose_it_is(root_path: str, servers: list[Json] | None) -> None:
    document = render(Catalogue(1, ()), root_path=root_path)
    assert document["info"] == {"title": "Cats", "version": "9", "description": "About cats."}
    assert document.get("servers") == servers


def test_the_document_is_made_once_per_generation(tmp_path: Path) -> None:
    document = Document(app())
    one = document.render(cats(tmp_path, 1))
    assert document.render(Catalogue(1, ())) is one
    assert list(document.render(Catalogue(2, ()))["paths"]) == OWN


def test_a_model_without_inputs_takes_none(tmp_path: Path) -> None:
    """JSON Schema wants something in an `anyOf`."""
    described = operation(cats(tmp_path, 1, proto=tiny.constant()))
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["inputs"] == {"type": "array", "items": {}, "maxItems": 0}


def test_tensors_whose_names_look_alike_have_titles_that_do_not(tmp_path: Path) -> None:
    """A generated client has a class for each, or none at all."""
    names = ["x-y", "x_y", "classes"]
    described = operation(cats(tmp_path, 1, proto=tiny.total(*names)))
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    tensors = schema["properties"]["inputs"]["items"]["anyOf"]
    assert [each["title"] for each in tensors] == ["x-y", "x_yN2", "classesN2"]
    assert [each["properties"]["name"]["const"] for each in tensors] == names


ELEMENTS = {
    "BOOL": {"type": "boolean"},
    "BYTES": {"type": "string"},
    "UINT8": {"type": "integer", "minimum": 0, "maximum": 255},
    "INT64": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    **{datatype: {"type": "number"} for datatype in ("FP16", "FP32", "FP64")},
}


@pytest.mark.parametrize("datatype", ELEMENTS)
def test_elements_are_described_by_their_datatype(catalogue: Catalogue, datatype: str) -> None:
    path = f"/v2/models/identity_{datatype.lower()}/infer"
    schema = operation(catalogue, path)["requestBody"]["content"]["application/json"]["schema"]
    [x] = schema["properties"]["inputs"]["items"]["anyOf"]
    assert x["properties"]["data"]["items"] == ELEMENTS[datatype]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_an_example_is_a_request_that_the_model_answers(catalogue: Catalogue, datatype: str) -> None:
    element = {"BOOL": True, "BYTES": "text"}.get(datatype, 1)
    found = example(catalogue.resolve(f"identity_{datatype.lower()}"))
    assert found == {"inputs": [tensor("x", datatype, [1, 1], [element])]}
    assert type(found["inputs"][0]["data"][0]) is type(element)


@pytest.mark.parametrize(
    ("given", "shown"),
    [([16, 0.5, 3], ["16", "0.5", "3"]), ([1e14, 1e15, 1e30], ["100000000000000", "1000000000000000.0", "1e+30"])],
)
def test_a_whole_number_is_shown_as_one_while_it_is_readable(
    tmp_path: Path, given: list[float], shown: list[str]
) -> None:
    warm_up = [{"x": {"shape": [1, 3], "data": given}}]
    found = example(cats(tmp_path, 1, proto=tiny.identity("FP64"), warm_up=warm_up).resolve("cat"))
    assert found is not None
    assert [repr(value) for value in found["inputs"][0]["data"]] == shown


@pytest.mark.parametrize(("columns", "is_shown"), [(4096, True), (4097, False)])
def test_an_example_that_nobody_could_read_is_left_out(tmp_path: Path, columns: int, is_shown: bool) -> None:
    served = cats(tmp_path, 1, proto=tiny.identity("INT8"), warm_up=[{"x": {"shape": [1, columns]}}])
    assert (example(served.resolve("cat")) is not None) is is_shown
    assert ("example" in operation(served)["requestBody"]["content"]["application/json"]) is is_shown


def test_a_model_that_took_nothing_has_no_example(tmp_path: Path) -> None:
    assert example(load(tiny.sevens(), tmp_path)) is None
