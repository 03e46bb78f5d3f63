"""OpenAI's forms, as the OpenAPI document has them: embeddings, and errors that its client shows."""

from typing import Any, Final

from service.engine.catalogue import Catalogue
from service.web.components import COMPONENTS, Schemas
from service.web.embeddings import embedders
from service.web.schemas import TIMEOUTS

PROBLEM: Final = {
    "type": "object",
    "required": ["error", "code", "request_id"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {name: {"type": "string"} for name in ("message", "type", "code")},
        },
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_EMBEDDING: Final = {
    "type": "object",
    "required": ["object", "index", "embedding"],
    "properties": {
        "object": {"const": "embedding"},
        "index": _COUNT,
        "embedding": {
            "anyOf": [{"type": "array", "items": {"type": ["number", "null"]}}, _TEXT],
            "description": "Numbers, or float32 in little-endian order, as base64.",
        },
    },
}
_ANSWER: Final = {
    "type": "object",
    "required": ["object", "data", "model", "usage"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": f"{COMPONENTS}Embedding"}},
        "model": _TEXT,
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "total_tokens"],
            "properties": {"prompt_tokens": _COUNT, "total_tokens": _COUNT},
        },
    },
}


def operation(catalogue: Catalogue, schemas: Schemas) -> dict[str, Any]:
    """POST /v1/embeddings, with an example where a model can answer it. `schemas` gets what it refers to."""
    names = embedders(catalogue)
    schemas.update({"EmbeddingsRequest": _request(names), "Embeddings": _ANSWER, "Embedding": _EMBEDDING})
    json: dict[str, Any] = {"schema": {"$ref": f"{COMPONENTS}EmbeddingsRequest"}}
    if names:
        json["example"] = {"model": names[0], "input": ["A text.", "Another one."]}
    answer = {"$ref": f"{COMPONENTS}Embeddings"}
    return {
        "tags": ["v1"],
        "summary": "Texts to vectors, as OpenAI's clients ask for them",
        "description": 'By models whose model.toml says `task = "embeddings"`.',
        "operationId": "embeddings",
        "parameters": TIMEOUTS,
        "requestBody": {"required": True, "content": {"application/json": json}},
        "responses": {"200": {"description": "The vectors", "content": {"application/json": {"schema": answer}}}},
    }


def _request(names: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": _TEXT | ({"enum": names} if names else {}),
            "input": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
            "encoding_format": {"type": "string", "enum": ["float", "base64"], "default": "float"},
            "dimensions": _COUNT | {"description": "As many as the model's vectors have, or 0 for that."},
            "user": _TEXT | {"description": "It changes nothing."},
        },
    }
