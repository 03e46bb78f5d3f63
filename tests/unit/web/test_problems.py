"""The one table of status numbers, and what an error's answer carries beside it."""

import asyncio
import json

import pytest
from starlette.exceptions import HTTPException

from service import errors
from service.web.problems import (
    STATUSES,
    body_of,
    headers_of,
    on_error,
    on_http_exception,
    status_of,
    statuses_of_inference,
)
from tests.unit.web.asgi import request

CALLER = [leaf for leaf in STATUSES if issubclass(leaf, errors.CallerError)]


@pytest.mark.parametrize("overloaded", [503, 429])
def test_the_statuses_of_requests_with_which_nothing_was_wrong_are_known_beforehand(overloaded: int) -> None:
    assert statuses_of_inference(overloaded) == {200, 500, 503, 504, overloaded}


def test_every_error_of_a_request_has_a_status() -> None:
    leaves = {leaf for branch in (errors.CallerError, errors.ServiceError) for leaf in branch.__subclasses__()}
    assert set(STATUSES) == leaves


@pytest.mark.parametrize("leaf", STATUSES)
def test_who_is_at_fault_decides_the_hundred(leaf: type[errors.OnnicornError]) -> None:
    # A conflict is nobody's fault.
    assert STATUSES[leaf] // 100 == (4 if leaf in CALLER or STATUSES[leaf] == 409 else 5)


def test_an_error_that_no_request_meets_is_ours() -> None:
    assert status_of(errors.RepositoryError("no")) == 500


def test_a_body_is_the_sentence_the_code_and_the_id() -> None:
    body = json.loads(body_of(errors.ModelNotReady("cat", "it sleeps"), "7"))
    assert body == {"error": "model 'cat' is not ready: it sleeps", "code": "model_not_ready", "request_id": "7"}


@pytest.mark.parametrize(("length", "said"), [(4000, "a" * 4000), (4001, "a" * 3997 + "...")])
def test_a_body_is_never_long(length: int, said: str) -> None:
    assert json.loads(body_of(errors.MalformedRequest("a" * length), "7"))["error"] == said


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.MalformedRequest("no"), {}),
        (errors.ModelNotReady("cat", "it sleeps"), {"retry-after": "1"}),
        (errors.MethodNotAllowed("no", "GET, HEAD"), {"allow": "GET, HEAD"}),
        (errors.Unauthenticated("no"), {"www-authenticate": "Bearer"}),
        (errors.Overloaded("no", "wait", 0.0), {"retry-after": "1"}),
        (errors.Overloaded("no", "wait", 2.0), {"retry-after": "2"}),
        (errors.Overloaded("no", "wait", 2.001), {"retry-after": "3"}),
        (errors.DeadlineExceeded("queue", 1), {}),
        (errors.UnsupportedMedia("no"), {}),
        (errors.UnsupportedMedia("no", "gzip"), {"accept-encoding": "gzip"}),
    ],
)
def test_headers_say_what_to_do_instead(error: errors.OnnicornError, headers: dict[str, str]) -> None:
    assert headers_of(error) == headers
    answer = asyncio.run(on_error(request(), error))
    assert (answer.status_code, headers.items() - answer.headers.items()) == (status_of(error), set())


@pytest.mark.parametrize(
    ("error", "status", "code", "sentence"),
    [
        (HTTPException(404), 404, "not_found", "there is nothing at /; GET /v2 and /openapi.json say what there is"),
        (
            HTTPException(405, headers={"Allow": "GET"}),
            405,
            "method_not_allowed",
            "/ does not know POST; it knows GET",
        ),
        (HTTPException(405), 405, "method_not_allowed", "/ does not know POST; it knows "),
        (HTTPException(400, "bad cookie"), 400, "malformed_request", "bad cookie"),
        (HTTPException(418, "teapot"), 400, "malformed_request", "teapot"),
    ],
)
def test_what_the_framework_refuses_is_a_problem_too(
    error: HTTPException, status: int, code: str, sentence: str
) -> None:
    answer = asyncio.run(on_http_exception(request(), error))
    assert (answer.status_code, json.loads(bytes(answer.body))) == (
        status,
        {"error": sentence, "code": code, "request_id": "7"},
    )


@pytest.mark.parametrize("wanted", [503, 429])
def test_an_operator_may_choose_the_status_of_overload_alone(wanted: int) -> None:
    assert status_of(errors.Overloaded("no", "wait", 1), wanted) == wanted
    assert status_of(errors.Draining(), wanted) == 503
    assert status_of(errors.DeadlineExceeded("queue", 1), wanted) == 504
