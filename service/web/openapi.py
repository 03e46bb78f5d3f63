"""The OpenAPI document: the generic routes, and for each model a path with its own signature and a working example.

The app is built before any model is known, so the document is made per generation, when somebody asks for it.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.engine.catalogue import Catalogue
from service.engine.model import Model
from service.errors import Overloaded
from service.web import openai, problems, typed
from service.web.access import scope_for
from service.web.components import Components, Names
from service.web.examples import example
from service.web.routes import EMBEDDINGS_ROUTE, INFER, INFER_STREAM, PREDICT, ROUTES, inference
from service.web.schemas import HEADERS, TIMEOUTS, request, response

_PROBLEM: Final = {
    "type": "object",
    "required": ["error", "code", "request_id"],
    "properties": {name: {"type": "string"} for name in ("error", "code", "request_id")},
}
_PROBLEMS: Final = {"Problem": _PROBLEM, "OpenAIProblem": openai.PROBLEM}
# Which statuses an operation may have. A 405 belongs to methods that are none.
_EVERYWHERE: Final = frozenset({401, 403, 414, 431, 500, 503})
_OF_MODELS: Final = frozenset({404})
_OF_BODIES: Final = frozenset({400, 408, 413, 415})
_OF_RUNS: Final = frozenset({504})
_OF_RELOADS: Final = frozenset({409})


_JSON, _BINARY, _LINES, _EVENTS = (
    "application/json",
    "application/octet-stream",
    "application/x-ndjson",
    "text/event-stream",
)
_MEDIA: Final[dict[str, Any]] = {
    _JSON: {"schema": {"type": "object"}},
    _BINARY: {"schema": {"type": "string", "format": "binary"}},
    _LINES: {"schema": {"type": "string"}},
    _EVENTS: {"schema": {"type": "string"}},
}
# Summary and parameters, what may be asked, and what is answered.
_VERBS: Final[dict[str, tuple[str, Any, tuple[str, ...], str, tuple[str, ...]]]] = {
    INFER: ("Run a model", HEADERS, (_JSON, _BINARY), "The outputs", (_JSON, _BINARY)),
    PREDICT: ("Predict with a model", TIMEOUTS, (_JSON,), "The predictions", (_JSON,)),
    INFER_STREAM: (
        "Run a model, and answer as rows or lines are ready",
        HEADERS,
        (_JSON, _BINARY),  # a form of request that is not JSON is what generators of clients trip over
        "An event for each row; where the body is lines of requests, application/x-ndjson, a line for each of them",
        (_EVENTS, _LINES),
    ),
}


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
        components.setdefault("schemas", {}).update(_PROBLEMS)
        components["responses"] = {
            f"{form}{status}": _problem(form, codes) for form in _PROBLEMS for status, codes in self._codes.items()
        }
        for path in ROUTES:
            document["paths"][path] = {"post": _generic(path)}
        document["paths"][EMBEDDINGS_ROUTE] = {"post": openai.operation(catalogue, components["schemas"])}
        _add_models(document, catalogue)
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                _describe_problems(operation, method, path, self._overload_status)
        if self._needs_key:
            _describe_keys(document)
        return document


def _add_models(document: dict[str, Any], catalogue: Catalogue) -> None:
    """Below what is there already, which keeps its names."""
    components, titles = Components(document["components"]["schemas"]), Names()
    identities = Names(
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    )
    for model in catalogue.models:
        is_default = catalogue.resolve(model.name) is model
        described = typed.describe(model, titles.take(typed.title_of(model, is_default)), components)
        for path in _paths("/v2", model, is_default, "/infer"):
            document["paths"][path] = {"post": _operation(model, identities.take(_identity("infer", path)))}
        for path in _paths("/v1", model, is_default, ":predict"):
            identity = identities.take(_identity("predict", path))
            document["paths"][path] = {"post": typed.operation(model, identity, described)}


def _identity(verb: str, path: str) -> str:
    """`infer_cat_versions_3` of /v2/models/cat/versions/3/infer."""
    return "_".join((verb, *re.split("[/:]", path)[3:-1]))


def _paths(protocol: str, model: Model, is_default: bool, verb: str) -> list[str]:
    short = f"{protocol}/models/{model.name}"
    versioned = f"{short}/versions/{model.version}{verb}"
    return [f"{short}{verb}", versioned] if is_default else [versioned]


def _generic(path: str) -> dict[str, Any]:
    """A route of models as it is for all of them; `web/doors.py` answers it without the framework."""
    names = re.findall(r"\{(\w+)\}", path)
    asked = inference(path)
    assert asked
    summary, parameters, asks, tells, answers = _VERBS[asked.verb]
    return {
        "tags": ["inference"],
        "summary": summary,
        "description": "The paths of the single models have their signatures and examples.",
        "operationId": "_".join((asked.verb, *names)),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            *parameters,
        ],
        "requestBody": {"required": True, "content": {media_type: _MEDIA[media_type] for media_type in asks}},
        "responses": {
            "200": {"description": tells, "content": {media_type: _MEDIA[media_type] for media_type in answers}}
        },
    }


def _operation(model: Model, identity: str) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": request(model.signature)}
    if (sample := example(model)) is not None:
        content["example"] = sample
    return {
        "tags": ["models"],
        "summary": f"Run {model.name} version {model.version}",
        "operationId": identity,
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
    """Every answer that is no success has one shape, or OpenAI's; what an operation says of itself stands."""
    form = "OpenAIProblem" if path == EMBEDDINGS_ROUTE else "Problem"
    operation["responses"].pop("422", None)
    statuses = set(_EVERYWHERE)
    for of_some, applies in (
        (_OF_MODELS, "/models/" in path or path == EMBEDDINGS_ROUTE),
        (_OF_BODIES, method == "post"),
        (_OF_RUNS | {overload_status}, inference(path) is not None),
        (_OF_RELOADS, path.startswith("/v2/repository/models/")),
    ):
        statuses.update(of_some if applies else ())
    for status in sorted(statuses):
        operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/{form}{status}"})


def _codes(overload_status: int) -> dict[int, list[str]]:
    """The codes of errors by their status."""
    codes: dict[int, set[str]] = {}
    for error, number in problems.STATUSES.items():
        codes.setdefault(overload_status if error is Overloaded else number, set()).add(error.code)
    return {status: sorted(codes[status]) for status in sorted(codes)}


def _problem(form: str, codes: Sequence[str]) -> dict[str, Any]:
    return {
        "description": " or ".join(codes),
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{form}"}}},
    }


def _describe_keys(document: dict[str, Any]) -> None:
    """Either header will do; since OpenAPI 3.1 the list beside it has the scopes that the key must have."""
    document["components"]["securitySchemes"] = _KEYS
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needed = scope_for(method.upper(), path)
            operation["security"] = [{scheme: [str(needed)]} for scheme in _KEYS] if needed else []
