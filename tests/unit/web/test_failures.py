"""What answers of 500 and above say: one of a closed set of sentences, and nothing of what went on inside."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator

import pytest
from starlette.testclient import TestClient

from service import errors
from service.settings import Settings
from service.web.app import create_app
from service.web.problems import STATUSES
from tests import tiny
from tests.oip import Json, tensor

SECRET = "/srv/secret.onnx"
PUBLIC: dict[type[errors.OnnicornError], tuple[errors.OnnicornError, str]] = {
    type(error): (error, sentence)
    for error, sentence in (
        (errors.InferenceFailed("cat", 1), "model 'cat' version 1 failed while it ran; the log has the reason"),
        (errors.TransformFailed("cat", 1), "the transform of model 'cat' version 1 failed; the log has the reason"),
        (errors.InternalError(), "the service failed; the log has the reason under this request id"),
        (errors.Interrupted(), "the service ended before the request was finished"),
        (errors.ModelNotReady("cat", "OURS"), "model 'cat' is not ready: OURS"),
        (errors.Draining(), "the service is ending; nothing was run, send the request to another instance"),
        (errors.Overloaded("OURS", "wait", 1), "OURS; nothing was run, the request may be sent again"),
        (errors.DeadlineExceeded("run", 0.5), "the request's timeout of 500 ms passed in stage 'run'"),
    )
}
"""Each error that is our own fault, made of what it takes. OURS is a sentence that is written where it is raised."""


def test_every_error_of_ours_says_only_what_stands_here() -> None:
    assert PUBLIC.keys() == {error for error, status in STATUSES.items() if status >= 500}
    assert {type(error): str(error) for error, _ in PUBLIC.values()} == {
        kind: sentence for kind, (_, sentence) in PUBLIC.items()
    }


def test_only_two_of_them_take_a_sentence() -> None:
    takes = {kind for kind in PUBLIC if {"message", "reason"} & inspect.signature(kind).parameters.keys()}
    assert takes == {errors.ModelNotReady, errors.Overloaded}


RAISED: dict[str, BaseException] = {
    "lookup": LookupError(SECRET),
    "system": OSError(2, "No such file", SECRET),
    "memory": MemoryError(SECRET),
    "group": ExceptionGroup(SECRET, [ValueError(SECRET)]),
    "cancelled": asyncio.CancelledError(SECRET),
    "caused": errors.InferenceFailed("double", 1),
}
RAISED["caused"].__cause__ = ValueError(SECRET)


def failing_route(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        raise error

    return fail


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Of an app with a model that fails, one that could not be loaded, and routes that fail as code can."""
    folder = tmp_path_factory.mktemp("failures")
    models = tiny.repository(folder / "models", double=tiny.double(), failing=tiny.failing())
    (models / "broken" / "1").mkdir(parents=True)
    (models / "broken" / "1" / "model.onnx").write_text(SECRET)
    app = create_app(Settings(repository={"path": models, "tolerate_failures": True}, cache={"dir": folder / "cache"}))
    for name, error in RAISED.items():
        app.add_api_route(f"/fail/{name}", failing_route(error))
    with TestClient(app) as client:
        yield client


OUT_OF_RANGE: Json = {"inputs": [tensor("index", "INT64", [1], [9])]}
FAILED = "the service failed; the log has the reason under this request id"
NOT_LOADED = "model 'broken' is not ready: it could not be loaded; POST /v2/repository/index has the reason"


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        (
            "POST",
            "/v2/models/failing/infer",
            500,
            "model 'failing' version 1 failed while it ran; the log has the reason",
        ),
        ("POST", "/v2/models/broken/infer", 503, NOT_LOADED),
        ("POST", "/v2/models/broken/versions/1/infer", 503, NOT_LOADED),
        ("GET", "/v2/models/broken", 503, NOT_LOADED),
        ("GET", "/v2/models/broken/config", 503, NOT_LOADED),
        ("GET", "/fail/lookup", 500, FAILED),
        ("GET", "/fail/system", 500, FAILED),
        ("GET", "/fail/memory", 500, FAILED),
        ("GET", "/fail/group", 500, FAILED),
        ("GET", "/fail/cancelled", 500, "the service ended before the request was finished"),
        ("GET", "/fail/caused", 500, "model 'double' version 1 failed while it ran; the log has the reason"),
    ],
)
def test_a_failure_is_told_by_its_sentence_and_nothing_else(
    client: TestClient, method: str, path: str, status: int, sentence: str
) -> None:
    answer = client.request(
        method, path, json=OUT_OF_RANGE if method == "POST" else None, headers={"X-Request-ID": "7"}
    )
    assert (answer.status_code, answer.json()["error"]) == (status, sentence)
    assert answer.json().keys() == {"error", "code", "request_id"}
    assert SECRET not in f"{answer.text} {answer.headers}"


def test_a_model_that_is_not_ready_has_no_other_words_for_it(client: TestClient) -> None:
    answer = client.get("/v2/models/broken/ready")
    assert (answer.status_code, answer.json()) == (503, {"name": "broken", "ready": False})
