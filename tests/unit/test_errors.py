"""The tree of errors: codes, sentences, and the drawing of it."""

import re

import pytest

from service import errors

TREE = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.OnnicornError)]
BRANCHES = {errors.OnnicornError, errors.CallerError, errors.ServiceError, errors.StartError}
LEAVES = sorted(set(TREE) - BRANCHES, key=lambda leaf: leaf.__name__)


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_code_is_the_name_in_small_letters(leaf: type[errors.OnnicornError]) -> None:
    assert leaf.code == re.sub(r"(?<!^)(?=[A-Z])", "_", leaf.__name__).lower()


def test_no_two_errors_share_a_code() -> None:
    assert sorted({leaf.code for leaf in LEAVES}) == sorted(leaf.code for leaf in LEAVES)


@pytest.mark.parametrize("leaf", LEAVES)
def test_an_error_hangs_on_one_branch(leaf: type[errors.OnnicornError]) -> None:
    assert set(leaf.__bases__) < BRANCHES - {errors.OnnicornError}


@pytest.mark.parametrize("error", TREE)
def test_the_docstring_draws_the_whole_tree(error: type[errors.OnnicornError]) -> None:
    assert re.search(rf"^ +.*\b{error.__name__}\b", errors.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.ModelNotFound("cat"), "model 'cat' is not served here; GET /v2/models lists the models that are"),
        (errors.VersionNotFound("cat", "x", [1, 20]), "model 'cat' has no version 'x'; the versions served are 1, 20"),
        (
            errors.ModelNotFound("a" * 8000),
            f"model '{'a' * 96}... is not served here; GET /v2/models lists the models that are",
        ),
        (
            errors.VersionNotFound("cat", "\0" * 8000, [1]),
            "model 'cat' has no version '" + r"\x00" * 24 + "...; the versions served are 1",
        ),
        (errors.MethodNotAllowed("no", "GET, HEAD"), "no"),
        (errors.UnsupportedMedia("no"), "no"),
        (errors.InferenceFailed("cat", 2), "model 'cat' version 2 failed while it ran; the log has the reason"),
        (errors.TransformFailed("cat", 2), "the transform of model 'cat' version 2 failed; the log has the reason"),
        (errors.InternalError(), "the service failed; the log has the reason under this request id"),
        (errors.ModelNotReady("cat", "it sleeps"), "model 'cat' is not ready: it sleeps"),
        (
            errors.Draining(),
            "the service is ending; nothing was run, send the request to another instance",
        ),
        (errors.Interrupted(), "the service ended before the request was finished"),
        (errors.RepositoryError("any text"), "any text"),
    ],
)
def test_an_error_is_a_sentence(error: errors.OnnicornError, sentence: str) -> None:
    assert str(error) == sentence


def test_an_error_keeps_what_its_answer_needs() -> None:
    assert errors.MethodNotAllowed("no", "GET").allowed == "GET"
    assert errors.UnsupportedMedia("no").accept_encoding is None
    assert errors.UnsupportedMedia("no", "gzip").accept_encoding == "gzip"


def test_what_is_said_of_a_repository_is_one_printable_line() -> None:
    named = "a\nb\x1b[2J\udce9 \u202e zwölf 猫"
    assert str(errors.RepositoryError(named)) == "a\\nb\\x1b[2J\\udce9 \\u202e zwölf 猫"
