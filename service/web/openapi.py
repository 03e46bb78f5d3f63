"""The OpenAPI document: the generic routes, and for each model a path with its own signature and a working example.

The app is built before any model is known, so the document is made per generation, when somebody asks for it.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.errors import Overloaded
from service.protocol.v2 import tensor_document
from service.web import problems
from service.web.access import scope_for
from service.web.routes import ROUTE, VERSION_ROUTE
from service.web.schemas import HEADERS, request, response

# A larger example would make the document unreadable; such a model's path has its schema only.
_MAX_EXAMPLE: Final = 4096
_PROBLEM: Final = {
    "type": "object",
    "required": ["error", "code", "request_id"],
    "properties": {name: {"type": "string"} for name in ("error", "code", "request_id")},
}
# Which statuses an operation may have. A 405 belongs to methods that are none.
_EVERYWHERE: Final = frozenset({401, 403, 414, 431, 500, 503})
_OF_MODELS: Final = frozenset({404})
_OF_BODIES: Final = frozenset({400, 408, 413, 415})
_OF_RUNS: Final = frozenset({504})
_OF_RELOADS: Final = frozenset({409})


_KEYS: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


class Document:
    """Made once per generation. `overload_status` is what is said where there is too much to do."""

    def __init__(
        self, app: FastAPI, root_path: str = "", *, needs_key: bool = False, overload_status: int = 503
    ) -> None:
        self._app = app
        self._overload_status = overload_status
        self._codes = _codes(overload_status)
        self._root_path = root_path
        self._needs_key = needs_key
        self._generation: int | None = None
        self._document: dict[str, Any] = {}

    def render(self, catalogue: Catalogue) -> dict[str, Any]:
        if self._generation != catalogue.generation:
            self._document = self._make(catalogue)
            self._generation = catalogue.generation
        return self._document

    def _make(self, catalogue: Catalogue) -> dict[str, Any]:
        app = self._app
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            servers=[{"url": self._root_path}] if self._root_path else None,
        )
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = _PROBLEM
        components["responses"] = {f"Problem{status}": _problem(codes) for status, codes in self._codes.items()}
        for path in (ROUTE, VERSION_ROUTE):
            document["paths"][path] = {"post": _generic(path)}
        for model in catalogue.models:
            is_default = catalogue.resolve(model.name) is model
            for path in _paths(model, is_default):
                document["paths"][path] = {"post": _operation(model, path)}
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                _describe_problems(operation, method, path, self._overload_status)
        if self._needs_key:
            _describe_keys(document)
        return document


def example(model: Model) -> dict[str, Any] | None:
    """A request that the model has answered at warm-up; None where there is none of a readable size."""
    tensors = model.example
    if not tensors or sum(tensor.size for tensor in tensors.values()) > _MAX_EXAMPLE:
        return None
    specs = {spec.name: spec for spec in model.signature.inputs}
    inputs = [tensor_document(name, specs[name].datatype, tensor) for name, tensor in tensors.items()]
    # Through the codec, so that the document holds plain lists and not arrays.
    document: dict[str, Any] = orjson.loads(orjson.dumps({"inputs": inputs}, option=orjson.OPT_SERIALIZE_NUMPY))
    for tensor in document["inputs"]:
        tensor["data"] = [_shortest(value) for value in tensor["data"]]
    return document


def _shortest(value: Any) -> Any:
    """16.0 reads better as 16, and means the same to every datatype."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _paths(model: Model, is_default: bool) -> list[str]:
    versioned = f"/v2/models/{model.name}/versions/{model.version}/infer"
    return [f"/v2/models/{model.name}/infer", versioned] if is_default else [versioned]


def _generic(path: str) -> dict[str, Any]:
    """The inference route as it is for all models; `web/infer.py` answers it without the framework."""
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    return {
        "tags": ["inference"],
        "summary": "Run a model",
        "description": "The paths of the single models have their signatures and examples.",
        "operationId": "_".join(("infer", *names)),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            *HEADERS,
        ],
        "requestBody": {"required": True, "content": _content({"schema": {"type": "object"}})},
        "responses": {"200": {"description": "The outputs", "content": _content({"schema": {}})}},
    }


def _operation(model: Model, path: str) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": request(model.signature)}
    if (sample := example(model)) is not None:
        content["example"] = sample
    return {
        "tags": ["models"],
        "summary": f"Run {model.name} version {model.version}",
        "operationId": "infer" + path.removesuffix("/infer").removeprefix("/v2/models").replace("/", "_"),
        "parameters": HEADERS,
        "requestBody": {"required": True, "content": _content(content)},
        "responses": {
            "200": {"description": "The outputs", "content": _content({"schema": response(model.signature)})}
        },
    }


def _content(json: dict[str, Any]) -> dict[str, Any]:
    """The same as JSON, or as JSON with binary tensors behind it, of which OpenAPI knows nothing."""
    return {"application/json": json, "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def _describe_problems(operation: dict[str, Any], method: str, path: str, overload_status: int) -> None:
    """Every answer that is no success has one shape; what an operation says of itself stands."""
    operation["responses"].pop("422", None)
    statuses = set(_EVERYWHERE)
    for of_some, applies in (
        (_OF_MODELS, "/models/" in path),
        (_OF_BODIES, method == "post"),
        (_OF_RUNS | {overload_status}, path.endswith("/infer")),
        (_OF_RELOADS, path.startswith("/v2/repository/models/")),
    ):
        statuses.update(of_some if applies else ())
    for status in sorted(statuses):
        operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})


def _codes(overload_status: int) -> dict[int, list[str]]:
    """The codes of errors by their status."""
    codes: dict[int, set[str]] = {}
    for error, number in problems.STATUSES.items():
        codes.setdefault(overload_status if error is Overloaded else number, set()).add(error.code)
    return {status: sorted(codes[status]) for status in sorted(codes)}


def _problem(codes: Sequence[str]) -> dict[str, Any]:
    return {
        "description": " or ".join(codes),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _describe_keys(document: dict[str, Any]) -> None:
    """Either header will do; since OpenAPI 3.1 the list beside it has the scopes that the key must have."""
    document["components"]["securitySchemes"] = _KEYS
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needed = scope_for(method.upper(), path)
            operation["security"] = [{scheme: [str(needed)]} for scheme in _KEYS] if needed else []
