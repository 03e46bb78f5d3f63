"""The models that are loaded, by name and version."""

from pathlib import Path
from typing import Any

import onnx
import pytest
from structlog.typing import EventDict

from service.engine.catalogue import Catalogue
from service.engine.manifest import Manifest
from service.engine.repository import Refusal
from service.engine.session import Compute
from service.errors import ModelNotFound, ModelNotReady, OnnicornError, RepositoryError, VersionNotFound
from tests import tiny
from tests.unit.loading import entry, load

NOT_LOADED = "it could not be loaded; POST /v2/repository/index has the reason"


def catalogue(root: Path, *refusals: Refusal, versions: tuple[int, ...] = (2, 10, 1), **declared: Any) -> Catalogue:
    """Of a dog, and of a cat in these versions."""
    cats = [load(tiny.double(), root, "cat", version, **declared) for version in versions]
    return Catalogue(5, [load(tiny.double(), root, "dog", 3), *cats], refusals)


def test_models_come_sorted_by_name_and_number(tmp_path: Path) -> None:
    made = catalogue(tmp_path)
    assert (made.generation, made.names, made.versions("cat"), made.versions("fox")) == (
        5,
        ["cat", "dog"],
        [1, 2, 10],
        [],
    )
    assert [(model.name, model.version) for model in made.models] == [("cat", 1), ("cat", 2), ("cat", 10), ("dog", 3)]


@pytest.mark.parametrize(
    ("declared", "version", "resolved"),
    [
        ({}, None, 10),
        ({}, "2", 2),
        ({"default_version": 1}, None, 1),
        ({"default_version": 1}, "10", 10),
    ],
)
def test_a_model_answers_in_the_version_asked_for_or_its_default(
    tmp_path: Path, declared: dict[str, Any], version: str | None, resolved: int
) -> None:
    model = catalogue(tmp_path, **declared).resolve("cat", version)
    assert (model.name, model.version) == ("cat", resolved)


REFUSALS = (Refusal("cat", 4, "x"), Refusal("fox", None, "x"), Refusal("owl", 1, "x"))


@pytest.mark.parametrize(
    ("name", "version", "error"),
    [
        ("elk", None, ModelNotFound("elk")),
        ("elk", "1", ModelNotFound("elk")),
        ("", None, ModelNotFound("")),
        ("cat", "3", VersionNotFound("cat", "3", [1, 2, 10])),
        ("cat", "01", VersionNotFound("cat", "01", [1, 2, 10])),
        ("cat", "", VersionNotFound("cat", "", [1, 2, 10])),
        ("cat", "4", ModelNotReady("cat", NOT_LOADED)),
        ("fox", None, ModelNotReady("fox", NOT_LOADED)),
        ("fox", "1", ModelNotReady("fox", NOT_LOADED)),
        ("owl", None, ModelNotReady("owl", NOT_LOADED)),
        ("owl", "1", ModelNotReady("owl", NOT_LOADED)),
        ("owl", "2", ModelNotFound("owl")),
    ],
)
def test_what_is_not_served_says_why(tmp_path: Path, name: str, version: str | None, error: OnnicornError) -> None:
    made = catalogue(tmp_path, *REFUSALS)
    with pytest.raises(type(error)) as caught:
        made.resolve(name, version)
    assert str(caught.value) == str(error)
    assert made.refusals == REFUSALS


def test_a_declared_default_that_was_refused_is_not_replaced_by_another(tmp_path: Path) -> None:
    made = catalogue(tmp_path, Refusal("cat", 4, "x"), default_version=4)
    with pytest.raises(ModelNotReady, match=NOT_LOADED):
        made.resolve("cat")
    assert made.resolve("cat", "2").version == 2


def test_the_highest_version_that_was_loaded_is_the_default(tmp_path: Path) -> None:
    assert catalogue(tmp_path, Refusal("cat", 11, "x")).resolve("cat").version == 10


def test_a_catalogue_is_loaded_from_a_manifest(tmp_path: Path) -> None:
    entries = tuple(entry(tiny.double(), tmp_path, "cat", version) for version in (1, 2))
    made = Catalogue.load(Manifest(generation=3, entries=entries, refusals=REFUSALS), Compute())
    assert (made.generation, made.versions("cat"), made.refusals) == (3, [1, 2], REFUSALS)
    assert all(model.example for model in made.models)


def test_one_model_that_fails_fails_the_catalogue(tmp_path: Path) -> None:
    entries = (
        entry(tiny.double(), tmp_path, "cat"),
        entry(tiny.sevens(), tmp_path, "fox", warm_up=[{"x": {"shape": [1]}}]),
    )
    with pytest.raises(RepositoryError, match=r"^model 'fox' version 1: warm_up"):
        Catalogue.load(Manifest(generation=3, entries=entries), Compute())


def test_a_model_is_loaded_by_the_providers_that_it_declares(tmp_path: Path) -> None:
    cat = entry(tiny.double(), tmp_path, "cat", providers=["CPUExecutionProvider"])
    moon = Compute(providers=("MoonExecutionProvider",))
    assert Catalogue.load(Manifest(generation=3, entries=(cat,)), moon).names == ["cat"]
    dog = entry(tiny.double(), tmp_path, "dog")
    with pytest.raises(RepositoryError, match=r"^execution provider MoonExecutionProvider is not in this build"):
        Catalogue.load(Manifest(generation=3, entries=(dog,)), moon)


def test_an_empty_catalogue_has_nothing() -> None:
    made = Catalogue(0, ())
    assert (made.models, made.names, made.refusals) == ([], [], ())


def test_what_is_loaded_is_told_with_its_digest(tmp_path: Path, records: list[EventDict]) -> None:
    checked = entry(tiny.double(), tmp_path, "cat").model_copy(update={"verified": True})
    Catalogue.load(Manifest(generation=1, entries=(checked,)), Compute())
    assert records[-1] == {
        "event": "model_loaded",
        "log_level": "debug",
        "model": "cat",
        "version": 1,
        "digest": checked.digest,
        "verified": True,
        "prepared": False,
    }


def loaded(tmp_path: Path, *refusals: Refusal, **small: onnx.ModelProto) -> Catalogue:
    """A cat whose fallback is the kitten, and what else there is."""
    entries = [entry(tiny.double(), tmp_path, "cat", fallback="kitten")]
    entries += [entry(proto, tmp_path, name) for name, proto in small.items()]
    return Catalogue.load(Manifest(generation=3, entries=tuple(entries), refusals=refusals), Compute())


def test_a_fallback_is_another_model_of_the_same_signature(tmp_path: Path) -> None:
    assert loaded(tmp_path, kitten=tiny.times(2)).names == ["cat", "kitten"]


def test_a_fallback_that_is_not_served_is_refused(tmp_path: Path) -> None:
    sentence = "model 'cat': fallback 'kitten': expected another model, one that is served"
    with pytest.raises(RepositoryError, match=f"^{sentence}$"):
        loaded(tmp_path, dog=tiny.double())


def test_a_model_is_no_fallback_of_its_own(tmp_path: Path) -> None:
    entries = (entry(tiny.double(), tmp_path, "cat", fallback="cat"),)
    with pytest.raises(RepositoryError, match=r"^model 'cat': fallback 'cat': expected another model"):
        Catalogue.load(Manifest(generation=3, entries=entries), Compute())


def test_a_fallback_of_another_signature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"^model 'cat': fallback 'kitten': expected x: .* got a: "):
        loaded(tmp_path, kitten=tiny.add_sub())


def test_every_wrong_fallback_is_named_at_once(tmp_path: Path) -> None:
    entries = tuple(entry(tiny.double(), tmp_path, name, fallback="kitten") for name in ("cat", "dog"))
    with pytest.raises(RepositoryError, match=r"^model 'cat': fallback .*; model 'dog': fallback "):
        Catalogue.load(Manifest(generation=3, entries=entries), Compute())


def test_a_fallback_that_was_refused_itself_is_not_missed(tmp_path: Path) -> None:
    assert loaded(tmp_path, Refusal("kitten", None, "x")).names == ["cat"]
