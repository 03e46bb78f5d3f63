"""Libraries of custom operators: only those that are allowed are loaded, and a changed one is another."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from structlog.typing import EventDict

from service.engine import operators
from service.engine.cache import Cache
from service.engine.catalogue import Catalogue
from service.engine.declaration import SessionOptions
from service.engine.generation import make_generation
from service.engine.manifest import Manifest
from service.engine.model import Model
from service.engine.session import Compute
from service.errors import RepositoryError
from tests import tiny
from tests.operators import build, needs_a_compiler, times

X = np.ones((1, 4), np.float32)


def asking(*libraries: str) -> SessionOptions:
    return SessionOptions(custom_operators=libraries)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Something that is allowed; it is no library."""
    file = tmp_path / "ops" / "libmine.so.1"
    file.parent.mkdir()
    file.write_text("no library")
    (file.parent / "libmine.so").symlink_to(file.name)
    return file


@pytest.mark.parametrize("asked", ["libmine.so", "libmine.so.1", "../ops/libmine.so"])
@pytest.mark.parametrize("allowed", ["libmine.so", "libmine.so.1"])
def test_a_library_is_known_by_its_real_path(library: Path, asked: str, allowed: str) -> None:
    given = [f"{library.parent}/{allowed}"]
    assert operators.libraries(asking(f"{library.parent}/{asked}"), given) == [library]
    assert operators.digests(asking(f"{library.parent}/{asked}"), given) == (sha256(b"no library").hexdigest(),)


def test_who_asks_for_nothing_gets_nothing(library: Path) -> None:
    assert operators.libraries(asking(), [str(library)]) == []
    assert operators.digests(asking(), [str(library)]) == ()


@pytest.mark.parametrize("asked", ["libmine.so", "ops/libmine.so", "/lib/libc.so.6", "/none\0", ""])
def test_what_is_not_allowed_by_its_absolute_path_is_refused(
    library: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.chdir(library.parent)
    with pytest.raises(RepositoryError) as caught:
        operators.libraries(asking(asked), [str(library)])
    assert str(caught.value) == (
        f"model.toml asks for the custom operators in {asked!r}, which are not among those that may be loaded: "
        f"{library}; if you trust the library, add its absolute path to ONNICORN_RUNTIME__CUSTOM_OPERATORS"
    )


def test_by_default_nothing_is_allowed(library: Path) -> None:
    with pytest.raises(RepositoryError, match="which are not among those that may be loaded: there are none; if you"):
        operators.libraries(asking(str(library)), ())


def test_what_is_no_library_is_refused_in_one_line(library: Path) -> None:
    with pytest.raises(RepositoryError) as caught:
        operators.register(ort.SessionOptions(), [library])
    assert str(caught.value).startswith(f"{library} cannot be loaded as a library of custom operators: ")
    assert "file too short" in str(caught.value) or "invalid ELF header" in str(caught.value)


def test_a_library_that_is_gone_is_named(library: Path) -> None:
    library.unlink()
    with pytest.raises(RepositoryError, match=f"^{library} cannot be read: No such file or directory$"):
        operators.digests(asking(str(library)), [str(library)])


@pytest.fixture
def times_two(tmp_path: Path) -> Path:
    """A real library."""
    return build(tmp_path / "libtimes.so")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a model that needs it, and says so."""
    root = tmp_path / "models"
    tiny.write(times(), root, "times")
    (root / "times" / "model.toml").write_text(f'[session]\ncustom_operators = ["{tmp_path}/libtimes.so"]')
    return root


def check(root: Path, *allowed: Path) -> Manifest:
    compute = Compute(custom_operators=tuple(map(str, allowed)))
    return make_generation(root, None, compute, Cache(root.parent / "cache", 7), number=1, tolerate_failures=False)


def answer(manifest: Manifest, *allowed: Path) -> list[float]:
    [model] = Catalogue.load(manifest, Compute(custom_operators=tuple(map(str, allowed)))).models
    [y] = model.run_all({"x": X})
    return [float(value) for value in y[0]]


@needs_a_compiler
def test_a_model_runs_with_the_operators_that_it_asks_for(
    root: Path, times_two: Path, records: list[EventDict]
) -> None:
    manifest = check(root, times_two)
    assert answer(manifest, times_two) == [2, 2, 2, 2]
    assert manifest.entries[0].prepared
    assert [record["event"] for record in records if record["log_level"] == "warning"] == []
    digests = (sha256(times_two.read_bytes()).hexdigest(),)
    told = [record["operator_digests"] for record in records if record["event"] in ("model_checked", "model_loaded")]
    assert (manifest.entries[0].operator_digests, told) == (digests, [digests, digests])


@needs_a_compiler
def test_a_model_runs_with_them_without_a_prepared_form(root: Path, times_two: Path) -> None:
    (root.parent / "cache").touch()
    manifest = check(root, times_two)
    assert answer(manifest, times_two) == [2, 2, 2, 2]
    assert manifest.entries[0].prepared is None


@needs_a_compiler
def test_a_changed_library_makes_another_form_of_the_model(root: Path, times_two: Path) -> None:
    before = check(root, times_two)
    assert [entry.prepared for entry in check(root, times_two).entries] == [before.entries[0].prepared]
    build(times_two, factor=3)
    with pytest.raises(RepositoryError, match=r"libtimes\.so has changed since .*model\.onnx was checked with it; res"):
        Model(before.entries[0].model_copy(update={"prepared": None}), Compute(custom_operators=(str(times_two),)))
    after = check(root, times_two)
    assert answer(after, times_two) == [3, 3, 3, 3]
    assert after.entries[0].prepared != before.entries[0].prepared


def check_elsewhere(root: Path, library: Path) -> Manifest:
    """As a reload does: by a process that has loaded nothing yet."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as others:
        return others.submit(check, root, library).result()


@needs_a_compiler
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_changed_library_is_refused_where_the_one_before_it_is_still_in_use(
    root: Path, times_two: Path, is_kept: bool
) -> None:
    """The system's loader would say that it is there already, and the old code would run as the new."""
    before = check(root, times_two)
    model = Model(before.entries[0], Compute(custom_operators=(str(times_two),)))
    if is_kept:
        times_two.rename(times_two.with_suffix(".before"))
    build(times_two, factor=3)
    after = check_elsewhere(root, times_two)
    with pytest.raises(RepositoryError) as caught:
        answer(after, times_two)
    assert str(caught.value) == (
        f"{times_two} has changed, and what it was before is still in use in this process: restart the service, or "
        "roll it out anew"
    )
    del model, caught
    assert answer(after, times_two) == [3, 3, 3, 3]


@needs_a_compiler
def test_what_could_not_be_loaded_does_not_stand_in_the_way_of_what_can(root: Path, times_two: Path) -> None:
    good = times_two.read_bytes()
    times_two.write_text("no library")
    with pytest.raises(RepositoryError, match="cannot be loaded as a library of custom operators"):
        check(root, times_two)
    times_two.write_bytes(good)
    assert answer(check(root, times_two), times_two) == [2, 2, 2, 2]


@needs_a_compiler
def test_a_library_that_nobody_has_allowed_is_not_loaded(root: Path, times_two: Path) -> None:
    with pytest.raises(RepositoryError, match=f"asks for the custom operators in '{times_two}', which are not among"):
        check(root)
    manifest = check(root, times_two)
    with pytest.raises(RepositoryError, match="which are not among those that may be loaded: there are none"):
        answer(manifest)


def test_a_model_that_does_not_name_its_operators_library_is_told_what_to_do(root: Path) -> None:
    (root / "times" / "model.toml").unlink()
    with pytest.raises(RepositoryError) as caught:
        check(root)
    assert str(caught.value).startswith(
        f"model 'times': {root}/times/1/model.onnx uses operators that are not ONNX Runtime's own: Times of domain "
        "'tests'; name their library in model.toml, [session] custom_operators, and in "
        "ONNICORN_RUNTIME__CUSTOM_OPERATORS ("
    )
