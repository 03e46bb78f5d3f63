"""A prepared model answers as the original does, bit by bit, and is found by all that it depends on."""

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from structlog.typing import EventDict

from service.engine.cache import MODEL, WEIGHTS, Cache
from service.engine.declaration import Declaration
from service.engine.manifest import Entry
from service.engine.prepare import _compare, _cpu, key_of, load_checked, load_plain, load_prepared, prepare
from service.engine.samples import Golden
from service.engine.session import Compute, Session
from service.errors import RepositoryError
from service.tensors import Array
from tests import tiny
from tests.unit import models
from tests.unit.loading import entry, entry_of

COMPUTE = Compute()
COST = "every worker keeps its own copy of the weights, {} MiB, and starts slower"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(place: Path) -> Cache:
    return Cache(place, keep_days=7)


@pytest.fixture
def other_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Move to a machine of another architecture."""

    def move() -> None:
        monkeypatch.setattr(platform, "machine", lambda: "riscv64")
        _cpu.cache_clear()

    yield move
    _cpu.cache_clear()


def prepared(entry: Entry, cache: Cache) -> Path:
    model = prepare(entry, COMPUTE, cache)
    assert model
    return model


def bits(session: Session, tensors: dict[str, Array]) -> list[Any]:
    """All that comes out: types, shapes, and bytes; texts as they are."""
    outputs = session.run(tensors, session.signature.output_names)
    return [(o.dtype, o.shape, o.tolist() if o.dtype.hasobject else o.tobytes()) for o in outputs]


def floats(*shape: int) -> Array:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def not_prepared(reason: str, mebibytes: int = 0) -> EventDict:
    return {
        "event": "not_prepared",
        "log_level": "warning",
        "model": "tiny",
        "version": 1,
        "reason": reason,
        "cost": COST.format(mebibytes),
    }


@pytest.mark.parametrize(
    ("proto", "tensors"),
    [
        pytest.param(models.dense(), {"x": floats(3, 64)}, id="weights"),
        pytest.param(tiny.double(), {"x": floats(3, 4)}, id="no weights"),
        pytest.param(tiny.scalar(), {"x": floats()}, id="no dimensions"),
        pytest.param(tiny.constant(), {}, id="no inputs"),
        pytest.param(tiny.unknown_rank(), {"x": floats(2, 1, 2)}, id="no rank"),
        pytest.param(tiny.lookup(400), {"index": np.array([399, 0])}, id="a table"),
        pytest.param(tiny.gather_words(), {"index": np.array([2, 0, 1])}, id="texts in the weights"),
        pytest.param(tiny.identity("BYTES"), {"x": np.array([["zwölf", ""]], np.object_)}, id="texts"),
        pytest.param(tiny.identity("FP16"), {"x": floats(3, 4).astype(np.float16)}, id="halves"),
        pytest.param(tiny.weighted(zipmap=True), {"x": floats(3, 2)}, id="maps"),
        pytest.param(tiny.zipmap_int(), {"x": floats(3, 2)}, id="a classifier of integers"),
        pytest.param(tiny.zipmap_string(), {"x": floats(3, 2)}, id="a classifier of texts"),
        pytest.param(models.chosen(), {"x": floats(3, 16), "flag": np.array([True])}, id="a branch with weights"),
        pytest.param(models.chosen(), {"x": floats(3, 16), "flag": np.array([False])}, id="weights around a branch"),
        pytest.param(models.ratio(), {"x": np.zeros((3, 4), np.float32)}, id="not a number"),
        pytest.param(tiny.sevens(), {"x": floats(14)}, id="an input that nobody could make up"),
    ],
)
def test_a_prepared_model_is_the_original_bit_by_bit(
    tmp_path: Path, cache: Cache, records: list[EventDict], proto: onnx.ModelProto, tensors: dict[str, Array]
) -> None:
    checked = entry(proto, tmp_path)
    plain, again = load_plain(checked, COMPUTE), load_prepared(prepared(checked, cache), checked, COMPUTE)
    assert again.signature == plain.signature
    assert bits(again, tensors) == bits(plain, tensors)
    assert records == []


def test_weights_outside_the_file_are_in_the_prepared_model(tmp_path: Path, cache: Cache) -> None:
    checked = entry_of(tiny.write_with_weights_outside(models.dense(), tmp_path, "tiny"))
    model = prepared(checked, cache)
    x = {"x": floats(3, 64)}
    wanted = bits(load_plain(checked, COMPUTE), x)
    for file in checked.facts.external_files:
        file.unlink()
    assert bits(load_prepared(model, checked, COMPUTE), x) == wanted


def test_large_weights_lie_in_a_file_of_their_own(tmp_path: Path, cache: Cache) -> None:
    model = prepared(entry(models.dense(), tmp_path), cache)
    files = {file.name: file.stat().st_size for file in model.parent.iterdir()}
    assert files.keys() == {MODEL, WEIGHTS, "SHA256SUMS", "lock"}
    assert files[WEIGHTS] >= 64 * 64 * 4 > files[MODEL]


def test_a_prepared_model_needs_both_of_its_files(tmp_path: Path, cache: Cache) -> None:
    checked = entry(models.dense(), tmp_path)
    model = prepared(checked, cache)
    (model.parent / WEIGHTS).unlink()
    with pytest.raises(RepositoryError, match=f"^{model} cannot be loaded by ONNX Runtime: "):
        load_prepared(model, checked, COMPUTE)


def test_a_prepared_model_is_found_again(tmp_path: Path, cache: Cache) -> None:
    checked = entry(models.dense(), tmp_path)
    model = prepared(checked, cache)
    written = [file.stat().st_ino for file in sorted(model.parent.iterdir())]
    assert prepared(checked, cache) == model
    assert [file.stat().st_ino for file in sorted(model.parent.iterdir())] == written


@pytest.mark.parametrize("lost", [MODEL, WEIGHTS])
def test_an_entry_that_has_lost_a_file_is_prepared_again(
    tmp_path: Path, cache: Cache, records: list[EventDict], lost: str
) -> None:
    checked = entry(models.dense(), tmp_path)
    model = prepared(checked, cache)
    (model.parent / lost).unlink()
    assert prepared(checked, cache) == model
    x = {"x": floats(3, 64)}
    assert bits(load_prepared(model, checked, COMPUTE), x) == bits(load_plain(checked, COMPUTE), x)
    assert [record["event"] for record in records] == ["cache_damaged"]


def test_the_same_model_in_another_place_is_found(tmp_path: Path, cache: Cache, place: Path) -> None:
    found = {
        prepared(entry(models.dense(), tmp_path / folder, name, version), cache)
        for folder, name, version in (("one", "cat", 1), ("two", "cat", 2), ("three", "dog", 1))
    }
    assert len(found) == 1
    assert [folder.name for folder in place.iterdir()] == [found.pop().parent.name]


def declare(entry: Entry, **session: Any) -> Entry:
    return entry.model_copy(update={"declaration": Declaration.model_validate({"session": session})})


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.model_copy(update={"name": "dog", "version": 9, "golden": None, "file": Path("/dog")}),
        lambda entry: declare(entry, intra_op_threads=3, custom_operators=["/by/its/digest"]),
        lambda entry: entry.model_copy(update={"verified": True}),
    ],
)
def test_what_the_prepared_form_does_not_depend_on_is_not_in_its_key(
    tmp_path: Path, change: Callable[[Entry], Entry]
) -> None:
    checked = entry(tiny.double(), tmp_path)
    assert key_of(change(checked), Compute(intra_op_threads=8, spinning=True)) == key_of(checked, COMPUTE)


def test_whatever_the_prepared_form_depends_on_changes_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_cpu: Callable[[], None]
) -> None:
    checked = entry(tiny.double(), tmp_path)
    keys = [
        key_of(checked, COMPUTE),
        key_of(checked.model_copy(update={"digest": "another"}), COMPUTE),
        key_of(checked.model_copy(update={"operator_digests": ("a library's",)}), COMPUTE),
        key_of(declare(checked, graph_optimization="basic"), COMPUTE),
        key_of(declare(checked, config={"session.dynamic_block_base": "4"}), COMPUTE),
        key_of(checked, Compute(providers=("MoonExecutionProvider",))),
    ]
    with monkeypatch.context() as patched:
        patched.setattr(ort, "__version__", "99.0")
        keys.append(key_of(checked, COMPUTE))
    with monkeypatch.context() as patched:
        patched.setattr("service.engine.prepare._FORMAT", 99)
        keys.append(key_of(checked, COMPUTE))
    other_cpu()
    keys.append(key_of(checked, COMPUTE))
    assert len(set(keys)) == len(keys)


def test_another_cpu_gets_a_prepared_form_of_its_own(
    tmp_path: Path, cache: Cache, place: Path, other_cpu: Callable[[], None]
) -> None:
    checked = entry(models.dense(), tmp_path)
    first = prepared(checked, cache)
    other_cpu()
    second = prepared(checked, cache)
    assert sorted(place.iterdir()) == sorted((first.parent, second.parent))


def test_a_model_that_answers_differently_each_time_is_not_prepared(
    tmp_path: Path, cache: Cache, place: Path, records: list[EventDict]
) -> None:
    assert prepare(entry(models.noisy(), tmp_path), COMPUTE, cache) is None
    reason = "the model answers the same input differently each time, so nothing can be compared"
    assert records == [not_prepared(reason)]
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("recorded", "told"), [([], []), ([1, 0], []), ([1, 2], ["not_prepared"])])
def test_recorded_inputs_are_compared_rather_than_made_up_ones(
    tmp_path: Path, cache: Cache, records: list[EventDict], recorded: list[int], told: list[str]
) -> None:
    checked = entry(models.noisy_beyond_one(), tmp_path)
    samples = [Golden(Path(), {"x": np.full((1, 4), value, np.float32)}, {}, 0.0) for value in recorded]
    assert (prepare(checked, COMPUTE, cache, samples) is None) is bool(told)
    assert [record["event"] for record in records] == told


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (tiny.identity("FP32"), "the optimised model has another signature"),
        (models.ratio(), "the optimised model answers differently"),
        (tiny.double(), None),
    ],
)
def test_a_form_that_is_not_the_original_is_found_out(tmp_path: Path, other: onnx.ModelProto, reason: str) -> None:
    checked, wrong = entry(tiny.double(), tmp_path), tiny.write(other, tmp_path, "wrong")
    if reason is None:
        _compare(checked, COMPUTE, load_plain(checked, COMPUTE), wrong)
    else:
        with pytest.raises(RepositoryError, match=f"^{reason}$"):
            _compare(checked, COMPUTE, load_plain(checked, COMPUTE), wrong)


def test_a_form_that_takes_what_the_original_refuses_is_found_out(tmp_path: Path) -> None:
    checked, wrong = entry(tiny.lookup(1), tmp_path), tiny.write(tiny.lookup(2), tmp_path, "wrong")
    with pytest.raises(RepositoryError, match=r"^the optimised model answers differently$"):
        _compare(checked, COMPUTE, load_plain(checked, COMPUTE), wrong)


def test_a_model_for_another_device_is_not_prepared(
    tmp_path: Path, cache: Cache, place: Path, records: list[EventDict]
) -> None:
    compute = Compute(providers=("MoonExecutionProvider", "CPUExecutionProvider"))
    assert prepare(entry(tiny.double(), tmp_path), compute, cache) is None
    assert records == [
        {
            "event": "not_prepared",
            "log_level": "warning",
            "model": "tiny",
            "version": 1,
            "reason": "it runs on MoonExecutionProvider, CPUExecutionProvider; packed weights are the CPU kernels' own",
        }
    ]
    assert not place.exists()


@pytest.mark.parametrize(("rows", "mebibytes"), [(1, 0), (400_000, 3)])
def test_a_cache_that_cannot_be_written_costs_every_worker_a_copy(
    tmp_path: Path, records: list[EventDict], rows: int, mebibytes: int
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "cache"
    assert prepare(entry(tiny.lookup(rows), tmp_path), COMPUTE, Cache(place, 7)) is None
    assert records == [not_prepared(f"{place} is not writable: Not a directory", mebibytes)]


def test_weights_outside_the_file_count(tmp_path: Path, records: list[EventDict]) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "cache"
    file = tiny.write_with_weights_outside(tiny.lookup(400_000), tmp_path, "tiny")
    assert prepare(entry_of(file), COMPUTE, Cache(place, 7)) is None
    assert records == [not_prepared(f"{place} is not writable: Not a directory", 3)]


def test_a_model_that_cannot_be_loaded_at_all_is_refused(tmp_path: Path, cache: Cache, place: Path) -> None:
    checked = entry(tiny.bfloat16(), tmp_path)
    with pytest.raises(RepositoryError, match=f"^{checked.file}: input 'x' is a tensor\\(bfloat16\\), which cannot"):
        prepare(checked, COMPUTE, cache)
    assert not place.exists()


def test_a_file_that_is_as_it_was_is_loaded(tmp_path: Path) -> None:
    checked = entry(tiny.times(2), tmp_path)
    x = {"x": floats(3, 4)}
    assert bits(load_checked(checked, COMPUTE), x) == bits(load_plain(checked, COMPUTE), x)


class Swapped(Entry):
    """Somebody puts another file there once this one was hashed."""

    def is_unchanged(self) -> bool:
        result = super().is_unchanged()
        self.file.write_bytes(tiny.times(3).SerializeToString())
        os.utime(self.file, ns=(1, 1))
        return result


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_file_that_is_another_one_now_is_not_loaded(tmp_path: Path, when: str) -> None:
    checked = entry(tiny.times(2), tmp_path)
    if when == "before":
        checked.file.write_bytes(tiny.times(3).SerializeToString())
    else:
        checked = Swapped(**dict(checked))
    with pytest.raises(RepositoryError) as caught:
        load_checked(checked, COMPUTE)
    assert str(caught.value) == (
        f"{checked.file} has changed since it was checked; restart the service to check it again"
    )
