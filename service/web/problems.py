"""An error as HTTP: the one place that knows status numbers.

Every error answer is `{"error": "<sentence>", "code": "<slug>", "request_id": "<id>"}`, framework errors included. To
OpenAI's clients `error` is an object, and the sentence its `message`.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service import errors
from service.quoting import shorten
from service.telemetry.record import Record
from service.web.records import record_of
from service.web.routes import EMBEDDINGS_ROUTE

STATUSES: Final[Mapping[type[errors.OnnicornError], int]] = {
    errors.MalformedRequest: 400,
    errors.SignatureMismatch: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.ModelNotFound: 404,
    errors.VersionNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimeout: 408,
    errors.ReloadRefused: 409,
    errors.ReloadInProgress: 409,
    errors.RequestTooLarge: 413,
    errors.AnswerTooLarge: 413,
    errors.UriTooLong: 414,
    errors.UnsupportedMedia: 415,
    errors.HeadersTooLarge: 431,
    errors.InferenceFailed: 500,
    errors.TransformFailed: 500,
    errors.InternalError: 500,
    errors.Interrupted: 500,
    errors.ModelNotReady: 503,
    errors.Draining: 503,
    errors.Overloaded: 503,
    errors.DeadlineExceeded: 504,
}
# Seconds after which it makes sense to ask again, at the least.
RETRY_AFTER: Final[Mapping[type[errors.OnnicornError], int]] = {
    errors.ModelNotReady: 1,
    errors.Draining: 1,
    errors.ReloadInProgress: 5,
    errors.Overloaded: 1,
}

# Of what no error has shortened itself; the log has all of it.
_LONGEST: Final = 4000


def status_of(error: errors.OnnicornError, overload_status: int = 503) -> int:
    """`overload_status` is what the operator wants to be said where there is too much to do."""
    if isinstance(error, errors.Overloaded):
        return overload_status
    return STATUSES.get(type(error), 500)


def statuses_of_inference(overload_status: int) -> frozenset[int]:
    """Those of answers to requests with which nothing was wrong."""
    return frozenset({200, overload_status, *(status for status in STATUSES.values() if status >= 500)})


def body_of(error: errors.OnnicornError, request_id: str, path: str = "") -> bytes:
    sentence = shorten(str(error), _LONGEST)
    said: Any = sentence
    if path == EMBEDDINGS_ROUTE:  # of any other form OpenAI's client shows the status and no word
        said = {"message": sentence, "type": error.code, "code": error.code}
    return orjson.dumps({"error": said, "code": error.code, "request_id": request_id})


def headers_of(error: errors.OnnicornError) -> dict[str, str]:
    headers = {}
    if seconds := RETRY_AFTER.get(type(error)):
        known = math.ceil(error.retry_after) if isinstance(error, errors.Overloaded) else 0
        headers["retry-after"] = str(max(seconds, known))
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, errors.MethodNotAllowed):
        headers["allow"] = error.allowed
    if isinstance(error, errors.UnsupportedMedia) and error.accept_encoding:
        headers["accept-encoding"] = error.accept_encoding
    return headers


def note(record: Record, error: errors.OnnicornError, overload_status: int = 503) -> None:
    """Into the record of the request that failed."""
    record.code = error.code
    record.error = error
    record.status = status_of(error, overload_status)


def respond(scope: Mapping[str, Any], error: errors.OnnicornError, overload_status: int = 503) -> Response:
    """The answer to a request that failed; the request's record learns why."""
    record = record_of(scope)
    note(record, error, overload_status)
    return Response(
        body_of(error, record.request_id, scope.get("path", "")),
        record.status,
        headers=headers_of(error),
        media_type="application/json",
    )


async def on_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler for our own errors."""
    assert isinstance(error, errors.OnnicornError)
    return respond(request.scope, error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """FastAPI's handler for what the router refuses."""
    assert isinstance(error, HTTPException)
    return respond(request.scope, _translated(request, error))


async def on_any_other(request: Request, error: Exception) -> Response:
    """What nobody expected is the last resort's, outside of the framework, which would answer it in its own words."""
    raise error


def _translated(request: Request, error: HTTPException) -> errors.OnnicornError:
    path, method = shorten(request.url.path), shorten(request.method)
    if error.status_code == 404:
        return errors.NotFound(f"there is nothing at {path}; GET /v2 and /openapi.json say what there is")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return errors.MethodNotAllowed(f"{path} does not know {method}; it knows {allowed}", allowed)
    return errors.MalformedRequest(str(error.detail))
