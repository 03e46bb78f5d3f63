"""Settings and a repository become a generation, a generation becomes a catalogue, and weighs something."""

import re
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict

from service.access import KeysUnusable
from service.engine.cache import Cache
from service.engine.declaration import Declaration
from service.engine.graph import Facts
from service.engine.manifest import Entry, Manifest
from service.engine.prepare import prepare
from service.engine.repository import Refusal
from service.engine.session import Compute
from service.errors import RepositoryError
from service.knobs import Access, Runtime
from service.loading import (
    compute_for,
    first_generation,
    load,
    prepare_generation,
    prepare_successor,
    succeed,
    weights,
)
from service.plan import Weights
from service.settings import Settings
from service.wishes import Wish
from tests import tiny
from tests.oip import Json
from tests.unit import models
from tests.unit.loading import entry, entry_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of `cat`, and of `dog` that lacks its file; beside it is the cache."""
    tiny.repository(tmp_path / "models", cat=tiny.double())
    (tmp_path / "models" / "dog" / "1").mkdir(parents=True)
    return tmp_path / "models"


def settings(root: Path, cache: Json | None = None, **repository: Any) -> Settings:
    groups: Json = {
        "repository": {"path": root, **repository},
        "cache": {"dir": root.parent / "cache"} | (cache or {}),
        "runtime": {"workers": 1},
    }
    return Settings(**groups)


def test_what_the_repository_holds_becomes_a_generation_and_that_a_catalogue(root: Path) -> None:
    notes: list[str] = []
    chosen = settings(root, tolerate_failures=True)
    manifest = prepare_generation(chosen, 7, progress=notes.append)
    assert notes == ["preparing cat", "preparing dog"]
    assert [refusal.name for refusal in manifest.refusals] == ["dog"]
    catalogue = load(chosen, manifest)
    assert (catalogue.generation, catalogue.names, catalogue.refusals) == (7, ["cat"], manifest.refusals)
    assert catalogue.resolve("cat").is_prepared


def test_a_model_that_fails_ends_the_start_unless_that_is_tolerated(root: Path) -> None:
    with pytest.raises(RepositoryError, match=r"^model 'dog': "):
        prepare_generation(settings(root), 1)


def test_code_that_a_reload_finds_is_forbidden_as_well(root: Path) -> None:
    chosen = settings(root / "cat", transforms=False)
    committed = prepare_generation(chosen, 1)
    (root / "cat" / "transform.py").write_text("raise SystemExit")
    refused = prepare_successor(chosen, committed, Wish(), 2)
    assert refused.entries == committed.entries
    [refusal] = refused.refusals
    assert refusal.reason.startswith(f"{root}/cat/transform.py is code, which ONNICORN_REPOSITORY__TRANSFORMS=false")


def with_keys(root: Path, text: str) -> Settings:
    file = root.parent / "keys.toml"
    file.write_text(text)
    return settings(root / "cat" / "1" / "model.onnx", name="cat").model_copy(update={"access": Access(keys=file)})


def client(name: str) -> str:
    return f'[clients.{name}]\nscopes = ["infer"]\nkeys = ["sha256:{64 * "0"}"]\n'


def names(manifest: Manifest) -> list[str]:
    assert manifest.clients
    return list(manifest.clients.clients)


def test_a_start_reads_who_may_call_and_a_reload_reads_it_again(root: Path) -> None:
    first = first_generation(with_keys(root, client("owl")), 1)
    assert (names(first), [each.name for each in first.entries]) == (["owl"], ["cat"])
    changed = with_keys(root, client("fox"))
    assert [names(prepare_successor(changed, first, wish, 2)) for wish in (Wish(), Wish(kind="load", model="cat"))] == [
        ["fox"],
        ["fox"],
    ]
    assert names(succeed(first, Manifest(generation=2, entries=()), Wish(kind="unload", model="cat"))) == ["owl"]


def test_where_no_keys_are_set_everybody_may_call(root: Path) -> None:
    chosen = settings(root, tolerate_failures=True)
    assert first_generation(chosen, 1).clients is None


def test_a_broken_file_of_keys_ends_a_start_before_any_model_is_looked_at(root: Path) -> None:
    notes: list[str] = []
    with pytest.raises(KeysUnusable, match="has no client"):
        first_generation(with_keys(root, "[clients]"), 1, notes.append)
    assert notes == []


def test_a_broken_file_of_keys_is_a_reason_against_the_whole_reload(root: Path) -> None:
    first = first_generation(with_keys(root, client("owl")), 1)
    made = prepare_successor(with_keys(root, "broken"), first, Wish(), 2)
    assert [(refusal.name, "ONNICORN_ACCESS__KEYS" in refusal.reason) for refusal in made.refusals] == [("", True)]
    assert names(made) == ["owl"]


def test_one_model_alone_can_be_prepared(root: Path) -> None:
    assert [each.name for each in prepare_generation(settings(root), 1, only="cat").entries] == ["cat"]


def test_a_single_model_has_the_name_that_is_set(root: Path) -> None:
    file = root / "cat" / "1" / "model.onnx"
    assert [each.name for each in prepare_generation(settings(file, name="owl"), 1).entries] == ["owl"]


def test_prepared_models_lie_where_it_is_set_and_for_as_long(root: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    old = place / "old"
    old.mkdir(parents=True)
    (old / "lock").touch()
    chosen = settings(root, {"dir": place, "keep_days": 3650})
    [cat] = prepare_generation(chosen, 1, only="cat").entries
    assert cat.prepared
    assert cat.prepared.parent.parent == place
    assert old.exists()


@pytest.mark.parametrize(
    ("runtime", "compute"),
    [
        ({"workers": 1, "intra_op_threads": 1}, Compute(1, True)),
        ({"workers": 2, "intra_op_threads": 3}, Compute(3, False)),
        ({"workers": 2, "intra_op_threads": 3, "providers": "A,B"}, Compute(3, False, ("A", "B"))),
        (
            {"workers": 2, "intra_op_threads": 3, "custom_operators": "/opt/a.so,/opt/b.so"},
            Compute(3, False, custom_operators=("/opt/a.so", "/opt/b.so")),
        ),
    ],
)
def test_a_session_may_use_what_the_plan_says(runtime: Json, compute: Compute) -> None:
    assert compute_for(Settings(runtime=runtime)) == compute


@pytest.mark.parametrize(("threads", "alone"), [(None, True), (1, True), (2, False)])
def test_a_generation_may_bring_the_threads_that_its_workers_give_a_run(
    root: Path, threads: int | None, alone: bool
) -> None:
    chosen = settings(root, tolerate_failures=True)
    chosen = chosen.model_copy(update={"runtime": Runtime(workers=1, intra_op_threads=1)})
    made = prepare_generation(chosen, 1).model_copy(update={"intra_op_threads": threads})
    assert load(chosen, made).resolve("cat").runs_on_one_cpu_thread is alone


def manifest(*entries: Entry) -> Manifest:
    return Manifest(generation=1, entries=entries)


def size(*files: Path) -> int:
    return sum(file.stat().st_size for file in files)


def test_a_generation_without_models_weighs_nothing() -> None:
    assert weights(manifest().entries) == Weights(shared=0, private=0)


def test_prepared_models_are_shared_and_the_others_are_not(tmp_path: Path) -> None:
    plain = entry(tiny.double(), tmp_path, "plain")
    outside = entry_of(tiny.write_with_weights_outside(models.dense(), tmp_path, "outside"), "outside")
    file = prepare(entry(models.dense(), tmp_path, "dense"), Compute(), Cache(tmp_path / "cache", 7))
    assert file
    prepared = entry(models.dense(), tmp_path, "prepared").model_copy(update={"prepared": file})
    assert weights(manifest(plain, outside, prepared).entries) == Weights(
        shared=size(*file.parent.iterdir()),
        private=size(plain.file, outside.file, *outside.facts.external_files),
    )


def test_what_two_models_share_in_the_cache_lies_in_memory_once(tmp_path: Path) -> None:
    file = prepare(entry(models.dense(), tmp_path, "dense"), Compute(), Cache(tmp_path / "cache", 7))
    assert file
    one, two = (entry(models.dense(), tmp_path, name).model_copy(update={"prepared": file}) for name in ("one", "two"))
    assert weights(manifest(one, two).entries) == Weights(shared=size(*file.parent.iterdir()), private=0)


def test_an_empty_repository_is_served_with_a_word(tmp_path: Path, records: list[EventDict]) -> None:
    (tmp_path / "models").mkdir()
    assert prepare_generation(settings(tmp_path / "models"), 7) == Manifest(generation=7, entries=())
    assert [record["event"] for record in records] == ["repository_empty"]


def version_of(name: str, version: int = 1) -> Entry:
    """As much of a version as decides what succeeds what."""
    file = Path(f"/models/{name}/{version}/model.onnx")
    return Entry(
        name=name, version=version, file=file, golden=None, facts=Facts(), digest="", declaration=Declaration()
    )


CAT, DOG = version_of("cat"), version_of("dog")
COMMITTED = Manifest(generation=3, entries=(CAT, DOG), unloaded=("elk",), intra_op_threads=2)


@pytest.mark.parametrize(
    ("wish", "fresh", "entries", "unloaded"),
    [
        pytest.param(Wish(), (CAT, DOG), (CAT, DOG), ("elk",), id="nothing has changed"),
        pytest.param(Wish(), (version_of("cat", 2),), (version_of("cat", 2),), ("elk",), id="all is read again"),
        pytest.param(
            Wish(kind="load", model="cat"), (version_of("cat", 2),), (version_of("cat", 2), DOG), ("elk",),
            id="one is read again",
        ),
        pytest.param(
            Wish(kind="load", model="elk"), (version_of("elk"),), (CAT, DOG, version_of("elk")), (),
            id="one comes back",
        ),
        pytest.param(Wish(kind="unload", model="cat"), (), (DOG,), ("cat", "elk"), id="one goes"),
    ],
)  # fmt: skip
def test_a_wish_changes_what_it_concerns(
    wish: Wish, fresh: tuple[Entry, ...], entries: tuple[Entry, ...], unloaded: tuple[str, ...]
) -> None:
    made = succeed(COMMITTED, Manifest(generation=4, entries=fresh), wish)
    assert made == Manifest(generation=4, entries=entries, unloaded=unloaded, intra_op_threads=2)


def test_a_model_of_which_a_version_is_refused_stays_as_it_was() -> None:
    refusal = Refusal("cat", 3, "it is broken")
    fresh = Manifest(generation=4, entries=(version_of("cat", 2), version_of("fox")), refusals=(refusal,))
    made = succeed(COMMITTED, fresh, Wish())
    assert (made.entries, made.refusals) == ((CAT, version_of("fox")), (refusal,))


def test_what_was_refused_before_stays_so_until_it_is_read_again() -> None:
    committed = COMMITTED.model_copy(update={"refusals": (Refusal("owl", 1, "it was broken"),)})
    fresh = Manifest(generation=4, entries=(CAT,))
    assert succeed(committed, fresh, Wish(kind="load", model="cat")).refusals == committed.refusals
    assert succeed(committed, fresh, Wish()).refusals == ()


def test_a_successor_reads_the_repository_again_and_keeps_what_is_the_same(root: Path) -> None:
    (root / "dog" / "1").rmdir()
    (root / "dog").rmdir()
    chosen = settings(root)
    first = prepare_generation(chosen, 1)
    tiny.repository(root, owl=tiny.double())
    second = prepare_successor(chosen, first, Wish(), 2)
    assert (second.generation, [each.name for each in second.entries]) == (2, ["cat", "owl"])
    assert second.entries[0] is first.entries[0]
    out = succeed(second, Manifest(generation=3, entries=()), Wish(kind="unload", model="owl"))
    assert [each.name for each in prepare_successor(chosen, out, Wish(), 4).entries] == ["cat"]
    back = prepare_successor(chosen, out, Wish(kind="load", model="owl"), 5)
    assert ([each.name for each in back.entries], back.unloaded) == (["cat", "owl"], ())


def test_a_repository_that_is_gone_is_the_reason_against_a_successor(root: Path) -> None:
    made = prepare_successor(settings(root / "gone"), COMMITTED, Wish(), 4)
    [refusal] = made.refusals
    assert (made.entries, refusal.name) == ((), "")
    assert "does not exist" in refusal.reason


def test_a_model_for_which_there_is_no_room_is_refused_before_it_is_read(root: Path) -> None:
    committed = Manifest(generation=1, entries=())
    size = (root / "cat" / "1" / "model.onnx").stat().st_size
    for room in (3 * size - 1, 4 * size - 1):
        made = prepare_successor(settings(root), committed, Wish(kind="load", model="cat"), 2, room)
        [refusal] = made.refusals
        assert (refusal.name, made.entries) == ("cat", ())
        assert re.fullmatch(r"to check it takes about 0 MiB of memory, and 0 MiB are left: raise .*", refusal.reason)
    made = prepare_successor(settings(root), committed, Wish(kind="load", model="cat"), 2, 4 * size)
    assert ([entry.name for entry in made.entries], made.refusals) == (["cat"], ())
