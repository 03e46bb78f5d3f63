"""A repository is checked as a whole: what passes makes the manifest, what fails is named."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from structlog.typing import EventDict

from service.engine.cache import MODEL, Cache
from service.engine.catalogue import Catalogue
from service.engine.declaration import Declaration
from service.engine.generation import make_generation
from service.engine.graph import Facts
from service.engine.manifest import Code, Entry, Findings, Manifest
from service.engine.prepare import key_of
from service.engine.repository import Refusal
from service.engine.session import Compute
from service.errors import RepositoryError
from tests import tiny
from tests.transforms import LISTS
from tests.unit import models


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", keep_days=7)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty repository, beside the cache."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def check(
    repository: Path,
    cache: Cache,
    *,
    name: str | None = None,
    only: str | None = None,
    tolerate: bool = False,
    known: Iterable[Entry] = (),
    notes: list[str] | None = None,
) -> Manifest:
    return make_generation(
        repository,
        name,
        Compute(),
        cache,
        number=7,
        is_wanted=lambda name: only in (None, name),
        known=known,
        tolerate_failures=tolerate,
        progress=notes.append if notes is not None else lambda note: None,
    )


def half_good(root: Path) -> Path:
    """`cat` is good; `dog` is no file, `elk` no model, `fox` fails its warm-up and `owl` lacks its weights."""
    tiny.repository(root, cat=tiny.double(), fox=tiny.sevens())
    (root / "fox" / "model.toml").write_text("[[warm_up]]\nx = { shape = [7], data = [1] }")
    (root / "dog" / "1").mkdir(parents=True)
    elk = root / "elk" / "2" / "model.onnx"
    elk.parent.mkdir(parents=True)
    elk.write_bytes(b"elk")
    weights = tiny.write_with_weights_outside(tiny.weighted(), root, "owl").parent / "weights.bin"
    weights.unlink()
    return root


def reasons(root: Path) -> tuple[Refusal, ...]:
    owl = root / "owl" / "1" / "model.onnx"
    return (
        Refusal("dog", 1, f"{root}/dog/1/model.onnx does not exist: copy the model there"),
        Refusal("elk", 2, f"{root}/elk/2/model.onnx is not an ONNX model: it cannot be parsed; export it again"),
        Refusal("fox", 1, "model 'fox': warm_up: input 'x': FP32[7] has 7 elements, 'data' has 1"),
        Refusal("owl", 1, f"{owl} keeps weights in 'weights.bin', which is missing: copy it beside the model"),
    )


def test_all_models_that_fail_are_named_at_once(root: Path, cache: Cache) -> None:
    half_good(root)
    with pytest.raises(RepositoryError) as caught:
        check(root, cache)
    assert str(caught.value) == "; ".join(f"model {each.name!r}: {each.reason}" for each in reasons(root))


def test_the_models_that_are_good_can_be_served_alone(root: Path, cache: Cache, records: list[EventDict]) -> None:
    half_good(root)
    notes: list[str] = []
    manifest = check(root, cache, tolerate=True, notes=notes)
    file = root / "cat" / "1" / "model.onnx"
    cat = Entry(
        name="cat",
        version=1,
        file=file,
        golden=file.parent / "golden",
        golden_digests=(),
        facts=Facts(operators=frozenset({"Add"})),
        digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        declaration=Declaration(),
        findings=manifest.entries[0].findings,  # they were measured
    )
    cat = cat.model_copy(update={"prepared": cache.find(key_of(cat, Compute()))})
    assert cat.prepared
    assert manifest == Manifest(generation=7, entries=(cat,), refusals=reasons(root))
    assert notes == [f"preparing {name}" for name in ("cat", "dog", "elk", "fox", "owl")]
    told = [record for record in records if record["log_level"] != "debug"]
    assert isinstance(told[0].pop("seconds"), float)
    assert told == [
        {
            "event": "model_checked",
            "log_level": "info",
            "model": "cat",
            "version": 1,
            "digest": cat.digest,
            "verified": False,
            "prepared": True,
            **cat.findings.model_dump(),
        },
        *(
            {
                "event": "model_refused",
                "log_level": "warning",
                "model": refusal.name,
                "version": refusal.version,
                "reason": refusal.reason,
            }
            for refusal in reasons(root)
        ),
    ]


def test_one_model_can_be_looked_at_alone(root: Path, cache: Cache) -> None:
    half_good(root)
    notes: list[str] = []
    assert [entry.name for entry in check(root, cache, only="cat", notes=notes).entries] == ["cat"]
    assert notes == ["preparing cat"]


def test_weights_outside_the_file_belong_to_the_entry(root: Path, cache: Cache) -> None:
    file = tiny.write_with_weights_outside(tiny.weighted(), root, "cat")
    [cat] = check(root, cache).entries
    assert cat.facts.external_files == (file.parent / "weights.bin",)
    (file.parent / "weights.bin").write_bytes(b"other")
    assert not cat.is_unchanged()


def test_a_single_model_can_be_named(root: Path, cache: Cache) -> None:
    file = tiny.write(tiny.double(), root, "cat")
    assert [entry.name for entry in check(file, cache, name="dog").entries] == ["dog"]


def test_the_working_directory_holds_no_samples_of_a_single_file(
    root: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny.write(tiny.double(), root, "cat")
    (root / "package.json").write_text("{}")
    monkeypatch.chdir(root)
    assert [entry.name for entry in check(file, cache).entries] == ["model"]


def test_what_is_wrong_with_the_others_does_not_matter_to_the_one_that_is_looked_at(root: Path, cache: Cache) -> None:
    half_good(root)
    with pytest.raises(RepositoryError) as caught:
        check(root, cache, only="elk")
    [elk] = [refusal for refusal in reasons(root) if refusal.name == "elk"]
    assert str(caught.value) == f"model 'elk': {elk.reason}"


def test_what_was_prepared_is_what_is_loaded(root: Path, cache: Cache) -> None:
    tiny.repository(root, cat=tiny.double(), dog=models.noisy())
    catalogue = Catalogue.load(check(root, cache), Compute())
    assert [(model.name, model.is_prepared) for model in catalogue.models] == [("cat", True), ("dog", False)]


def test_what_running_a_model_has_shown_is_kept_with_it(
    root: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write(tiny.double(), root, "cat")
    monkeypatch.setattr("service.engine.measure.perf_counter", lambda: 0.0)  # every run is over at once
    findings = check(root, cache).entries[0].findings
    assert findings == Findings(together=True, batch_rows=64, inline_rows=64, row_seconds=findings.row_seconds)


@pytest.mark.parametrize("keep_days", [0, 7])
def test_what_a_generation_is_made_of_is_not_removed_by_it(root: Path, tmp_path: Path, keep_days: float) -> None:
    """A service that was down for longer than that starts again; nobody holds the entries before its master does."""
    tiny.write(tiny.double(), root, "cat")
    cache = Cache(tmp_path / "cache", keep_days)
    made = []
    for _ in range(2):
        [cat] = check(root, cache).entries
        assert cat.prepared
        assert cat.prepared.is_file()
        made.append(cat.prepared)
        os.utime(cat.prepared.parent / "lock", (0, 0))
    assert made[0] == made[1]


def test_a_model_is_checked_with_its_own_providers(root: Path, cache: Cache) -> None:
    tiny.repository(root, cat=tiny.double(), dog=tiny.double())
    (root / "dog" / "model.toml").write_text('providers = ["MoonExecutionProvider"]')
    manifest = check(root, cache, tolerate=True)
    assert [entry.name for entry in manifest.entries] == ["cat"]
    assert [refusal.reason.partition(" is not in")[0] for refusal in manifest.refusals] == [
        "execution provider MoonExecutionProvider"
    ]


def test_nobody_needs_to_hear_of_the_progress(root: Path, cache: Cache) -> None:
    tiny.write(tiny.double(), root, "cat")
    manifest = make_generation(root, None, Compute(), cache, number=1, tolerate_failures=False)
    assert [entry.name for entry in manifest.entries] == ["cat"]


def list_all(folder: Path, *names: str) -> None:
    """A SHA256SUMS of what these files are now."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def with_everything(root: Path) -> Path:
    """A version with weights outside, a golden sample and a SHA256SUMS of all that; its folder."""
    folder = tiny.write_with_weights_outside(tiny.weighted(), root, "cat").parent
    sample = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 10]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [31, 42]}],
    }
    (folder / "golden").mkdir()
    (folder / "golden" / "one.json").write_text(json.dumps(sample))
    list_all(folder, *FILES)
    return folder


FILES = ("model.onnx", "weights.bin", "golden/one.json")


def refusal(root: Path, cache: Cache) -> str:
    [refused] = check(root, cache, tolerate=True).refusals
    return refused.reason


def test_a_version_that_is_as_listed_is_verified(root: Path, cache: Cache, records: list[EventDict]) -> None:
    folder = with_everything(root)
    [cat] = check(root, cache).entries
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES[:2]]
    assert (cat.verified, cat.digest) == (True, hashlib.sha256("".join(digests).encode()).hexdigest())
    assert [record["verified"] for record in records if record["event"] == "model_checked"] == [True]
    (folder / "SHA256SUMS").unlink()
    [same] = check(root, cache).entries
    assert (same.verified, same.digest, same.prepared) == (False, cat.digest, cat.prepared)


@pytest.mark.parametrize("name", FILES)
def test_a_version_of_which_something_is_not_listed_is_refused(root: Path, cache: Cache, name: str) -> None:
    folder = with_everything(root)
    list_all(folder, *(other for other in FILES if other != name))
    assert refusal(root, cache).startswith(f"{folder}/{name} is not listed in {folder}/SHA256SUMS: run `sha256sum ")


@pytest.mark.parametrize("name", FILES)
def test_a_version_of_which_something_has_changed_is_refused_before_it_is_parsed(
    root: Path, cache: Cache, name: str
) -> None:
    folder = with_everything(root)
    (folder / name).write_bytes(b"{")
    assert refusal(root, cache).startswith(f"{folder}/{name} has SHA-256 021fb596db81..., {folder}/SHA256SUMS says ")


@pytest.mark.parametrize("name", FILES)
def test_a_version_of_which_something_is_gone_is_refused(root: Path, cache: Cache, name: str) -> None:
    folder = with_everything(root)
    (folder / name).unlink()
    missing = f"{folder}/{name} does not exist" if name == "model.onnx" else f"{folder}/{name} cannot be read: No such"
    assert refusal(root, cache).startswith(missing)


def test_a_list_that_cannot_be_understood_vouches_for_nothing(root: Path, cache: Cache) -> None:
    folder = with_everything(root)
    (folder / "SHA256SUMS").write_text("all is well\n")
    assert refusal(root, cache).startswith(f"{folder}/SHA256SUMS: line 1 is 'all is well': expected 64 hexadecimal ")


def test_a_single_file_is_held_against_the_list_beside_it_and_the_rest_of_that_is_not(root: Path, cache: Cache) -> None:
    file = tiny.write(tiny.double(), root, "cat")
    list_all(file.parent, "model.onnx")
    with (file.parent / "SHA256SUMS").open("a") as stream:
        stream.write(f"{'0' * 64}  another.onnx\n")
    assert [entry.verified for entry in check(file, cache, name="cat").entries] == [True]
    tiny.write(tiny.times(3), root, "dog").rename(file)
    with pytest.raises(RepositoryError, match=r"model\.onnx has SHA-256 "):
        check(file, cache, name="cat")


def test_a_volume_of_kubernetes_is_served(root: Path, cache: Cache) -> None:
    folder = with_everything(root)
    data = folder / "..2026_11_21"
    data.mkdir()
    (folder / "..data").symlink_to(data.name)
    for name in ("model.onnx", "weights.bin", "golden", "SHA256SUMS"):
        (folder / name).rename(data / name)
        (folder / name).symlink_to(f"..data/{name}")
    [cat] = check(root, cache).entries
    assert (cat.verified, cat.file) == (True, folder / "model.onnx")


@pytest.mark.parametrize("name", ["golden", "golden/one.json"])
def test_samples_elsewhere_are_refused(root: Path, cache: Cache, name: str) -> None:
    folder = with_everything(root)
    (folder / "SHA256SUMS").unlink()
    (folder / name).rename(root.parent / "elsewhere")
    (folder / name).symlink_to(root.parent / "elsewhere")
    assert refusal(root, cache) == (
        f"{folder}/{name} leads out of the repository {root}, to {root.parent}/elsewhere: copy it to where the link is"
    )


class Meddled(Cache):
    """Somebody writes to a file of the model after it was hashed, and before it is loaded."""

    def __init__(self, directory: Path, file: Path, content: bytes) -> None:
        super().__init__(directory, keep_days=7)
        self._file = file
        self._content = content

    def find(self, key: str, name: str = MODEL) -> Path | None:
        self._file.write_bytes(self._content)
        os.utime(self._file, ns=(1, 1))
        return super().find(key, name)


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin"])
def test_a_file_that_changes_while_it_is_checked_is_not_served(root: Path, tmp_path: Path, name: str) -> None:
    folder = with_everything(root)
    same = (folder / name).read_bytes()  # put back in the end: only the time tells
    reason = refusal(root, Meddled(tmp_path / "cache", folder / name, same))
    assert reason == (
        f"{folder}/{name} has changed while it was checked: put a version there whole, then load it again"
    )


def with_transform(root: Path) -> Path:
    """`cat`, whose `transform.py` has a golden sample and reads a file."""
    tiny.write(tiny.double(), root, "cat")
    folder = root / "cat"
    (folder / "transform.py").write_text(LISTS)
    (folder / "words.txt").write_text("one")
    golden = folder / "1" / "golden"
    golden.mkdir()
    (golden / "one.json").write_text('{"instances": [[1, 2, 3, 4]], "predictions": [[2, 4, 6, 8]]}')
    return folder


def test_a_transform_is_a_part_of_what_was_checked(root: Path, cache: Cache, records: list[EventDict]) -> None:
    folder = with_transform(root)
    manifest = check(root, cache)
    [cat] = manifest.entries
    digest = hashlib.sha256(LISTS.encode()).hexdigest()
    words = ((folder / "words.txt", hashlib.sha256(b"one").hexdigest()),)
    assert cat.transform == Code(folder=folder, target="transform.py", digest=digest, source=LISTS, files=words)
    [told] = [record for record in records if record["event"] == "model_checked"]
    assert told["transform_digest"] == digest
    manifest.write(root.parent / "manifest.json")
    assert Manifest.read(root.parent / "manifest.json") == manifest


@pytest.mark.parametrize("name", ["transform.py", "words.txt", "new.txt"])
def test_a_model_whose_transform_or_what_it_may_read_has_changed_is_another_one(
    root: Path, cache: Cache, name: str
) -> None:
    folder = with_transform(root)
    [before] = check(root, cache).entries
    assert check(root, cache, known=[before]).entries == (before,)
    with (folder / name).open("a") as stream:
        stream.write("# changed")
    [after] = check(root, cache, known=[before]).entries
    assert (after.transform == before.transform, after.digest, after.prepared) == (
        False,
        before.digest,
        before.prepared,
    )


def test_what_a_transform_reads_stays_what_was_checked(root: Path, cache: Cache) -> None:
    folder = with_transform(root)
    manifest = check(root, cache)
    [cat] = manifest.entries
    (folder / "words.txt").write_text("two")
    assert cat.snapshot
    assert (cat.snapshot / "words.txt").read_text() == "one"
    assert cat.cached == (cat.prepared, cat.snapshot)
    assert [model.entry for model in Catalogue.load(manifest, Compute()).models] == [cat]


def test_a_transform_in_a_versions_folder_is_refused_rather_than_passed_over(root: Path, cache: Cache) -> None:
    folder = with_transform(root)
    (folder / "1" / "transform.py").write_text(LISTS)
    assert refusal(root, cache) == (
        f"{folder}/1/transform.py would not be read: all versions of a model have one transform; move it to {folder}"
    )


def test_a_transform_that_is_forbidden_is_refused(root: Path, cache: Cache) -> None:
    folder = with_transform(root)
    with pytest.raises(RepositoryError) as caught:
        make_generation(root, None, Compute(), cache, number=1, tolerate_failures=False, transforms=False)
    assert str(caught.value).startswith(
        f"model 'cat': {folder}/transform.py is code, which ONNICORN_REPOSITORY__TRANSF"
    )


def test_a_transform_that_answers_otherwise_than_recorded_is_refused(root: Path, cache: Cache) -> None:
    folder = with_transform(root)
    (folder / "transform.py").write_text(LISTS.replace('outputs["y"]', '-outputs["y"]'))
    assert refusal(root, cache).endswith("predictions[0][0] was recorded as 2, is -2.0 now")


def test_a_flat_folder_may_have_a_transform(root: Path, cache: Cache) -> None:
    folder = with_transform(root)
    for name in ("model.onnx", "golden"):
        (folder / "1" / name).rename(folder / name)
    (folder / "1").rmdir()
    [cat] = check(folder, cache).entries
    assert cat.transform
    assert [file.name for file, _ in cat.transform.files] == ["words.txt"]


def test_a_single_version_may_have_a_transform_above_it(root: Path, cache: Cache) -> None:
    [cat] = check(with_transform(root), cache).entries
    assert (cat.name, cat.transform is not None) == ("cat", True)


def test_a_transform_beside_a_single_file_is_not_the_models(root: Path, cache: Cache) -> None:
    folder = with_transform(root)
    (folder / "1" / "transform.py").write_text(LISTS)
    [model] = check(folder / "1" / "model.onnx", cache).entries
    assert model.transform is None


@pytest.mark.parametrize(("above", "verified"), [(True, True), (False, False)])
def test_a_version_is_verified_where_its_transform_is_too(
    root: Path, cache: Cache, above: bool, verified: bool
) -> None:
    folder = with_transform(root)
    names = ("transform.py", "words.txt", "1/model.onnx", "1/golden/one.json")
    if above:
        list_all(folder, *names)
    else:
        list_all(folder / "1", "model.onnx", "golden/one.json")
    assert [entry.verified for entry in check(root, cache).entries] == [verified]


def test_a_transform_that_changes_while_it_is_checked_is_not_served(root: Path, tmp_path: Path) -> None:
    folder = with_transform(root)
    file = folder / "transform.py"
    assert refusal(root, Meddled(tmp_path / "cache", file, file.read_bytes())) == (
        f"{file} has changed while it was checked: put a version there whole, then load it again"
    )
