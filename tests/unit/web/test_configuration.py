"""A model's configuration in Triton's form, the whole of it."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from service.engine.cache import Cache
from service.engine.declaration import Declaration
from service.engine.manifest import Code, Findings
from service.engine.model import Model
from service.engine.prepare import prepare
from service.engine.session import Compute
from service.knobs import Batching
from service.web.configuration import configuration
from tests import tiny
from tests.oip import Json
from tests.unit.loading import entry, entry_of

DIGITS = Path(__file__).parent.parent.parent.parent / "models" / "digits"


def loaded(root: Path, findings: Findings, **declared: Any) -> Model:
    """`double` as it would be after these findings."""
    return Model(entry(tiny.double(), root, **declared).model_copy(update={"findings": findings}), Compute())


def test_the_configuration_of_digits(tmp_path: Path) -> None:
    file = DIGITS / "1" / "model.onnx"
    found = entry_of(file, "digits", **Declaration.read(DIGITS).model_dump())
    findings = Findings(together=True, batch_rows=16, inline_rows=8)
    found = found.model_copy(
        update={"findings": findings, "prepared": prepare(found, Compute(), Cache(tmp_path / "cache", 7))}
    )
    assert configuration(Model(found, Compute()), Batching()) == {
        "name": "digits",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [1]}},
        "max_batch_size": 65536,
        "input": [{"name": "image", "data_type": "TYPE_FP32", "dims": [64]}],
        "output": [
            {"name": "label", "data_type": "TYPE_INT64", "dims": []},
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [10]},
        ],
        "instance_group": [{"name": "digits", "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": "model.onnx",
        "parameters": {
            "batch_rows": {"string_value": "16"},
            "inline_rows": {"string_value": "8"},
            "pads": {"string_value": "false"},
            "prepared": {"string_value": "true"},
            "digest": {"string_value": hashlib.sha256(file.read_bytes()).hexdigest()},
            "verified": {"string_value": "false"},
        },
        "dynamic_batching": {},
    }


def test_the_configuration_of_a_model_without_a_batch_axis(tmp_path: Path) -> None:
    checked = entry(tiny.two_free(), tmp_path, "outer", 3, run_threads=2)
    assert configuration(Model(checked, Compute()), Batching()) == {
        "name": "outer",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [3]}},
        "max_batch_size": 0,
        "input": [
            {"name": "a", "data_type": "TYPE_FP32", "dims": [-1]},
            {"name": "b", "data_type": "TYPE_FP32", "dims": [-1]},
        ],
        "output": [{"name": "outer", "data_type": "TYPE_FP32", "dims": [-1, -1]}],
        "instance_group": [{"name": "outer", "kind": "KIND_CPU", "count": 2}],
        "default_model_filename": "model.onnx",
        "parameters": {
            "batch_rows": {"string_value": "1"},
            "inline_rows": {"string_value": "0"},
            "pads": {"string_value": "false"},
            "prepared": {"string_value": "false"},
            "digest": {"string_value": checked.digest},
            "verified": {"string_value": "false"},
        },
    }


def test_libraries_of_custom_operators_are_shown_by_their_digests(tmp_path: Path) -> None:
    model = Model(entry(tiny.double(), tmp_path), Compute())
    model.entry = model.entry.model_copy(update={"operator_digests": ("cafe", "beef")})
    shown = configuration(model, Batching())["parameters"]["operator_digests"]
    assert shown == {"string_value": "cafe,beef"}


def test_the_code_of_a_transform_is_shown_by_its_digest(tmp_path: Path) -> None:
    model = Model(entry(tiny.double(), tmp_path), Compute())
    code = Code(folder=tmp_path, target="transform.py", digest="cafe")
    model.entry = model.entry.model_copy(update={"transform": code})
    assert configuration(model, Batching())["parameters"]["transform_digest"] == {"string_value": "cafe"}


@pytest.mark.parametrize("datatype", tiny.DATATYPES)
def test_datatypes_have_tritons_names(tmp_path: Path, datatype: str) -> None:
    model = Model(entry(tiny.identity(datatype), tmp_path), Compute())
    name = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    assert configuration(model, Batching())["input"] == [{"name": "x", "data_type": name, "dims": [-1]}]


@pytest.mark.parametrize(
    ("findings", "declared", "max_rows", "largest_request", "batch_rows"),
    [
        (Findings(), {}, 32, 65536, "1"),
        (Findings(together=True, batch_rows=16), {}, 32, 65536, "16"),
        (Findings(together=True, batch_rows=64), {}, 32, 65536, "32"),
        (Findings(together=True, batch_rows=64), {}, 1, 65536, "1"),
        (Findings(), {"limits": {"batch_rows": 4}}, 32, 65536, "1"),
        (Findings(together=True, batch_rows=16), {"limits": {"max_rows": 7}}, 32, 7, "16"),
        (Findings(together=True, batch_rows=16), {"limits": {"max_rows": 100}}, 32, 100, "16"),
        (Findings(together=True, batch_rows=16), {"limits": {"batch_rows": 4}}, 32, 65536, "4"),
        (Findings(together=True, batch_rows=1), {"limits": {"batch_rows": 100}}, 32, 65536, "100"),
        (Findings(together=True, batch_rows=16), {"limits": {"batch_rows": 100}}, 1, 65536, "1"),
    ],
)
def test_limits_are_told_as_they_are_declared_found_and_set(
    tmp_path: Path, findings: Findings, declared: Json, max_rows: int, largest_request: int, batch_rows: str
) -> None:
    told = configuration(loaded(tmp_path, findings, **declared), Batching(max_rows=max_rows))
    assert (told["max_batch_size"], told["parameters"]["batch_rows"]["string_value"]) == (largest_request, batch_rows)


@pytest.mark.parametrize(
    ("findings", "max_rows", "is_dynamic"),
    [
        (Findings(together=True, batch_rows=2), 32, True),
        (Findings(together=True, batch_rows=1), 32, False),
        (Findings(together=False), 32, False),
        (Findings(together=True, batch_rows=2), 1, False),
    ],
)
def test_only_a_model_that_is_batched_says_so(
    tmp_path: Path, findings: Findings, max_rows: int, is_dynamic: bool
) -> None:
    told = configuration(loaded(tmp_path, findings), Batching(max_rows=max_rows))
    assert told.get("dynamic_batching") == ({} if is_dynamic else None)


def test_an_open_rank_reads_as_one_free_dimension(tmp_path: Path) -> None:
    model = Model(entry(tiny.unknown_rank(), tmp_path), Compute())
    assert configuration(model, Batching())["output"] == [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1]}]


def test_padding_that_won_is_told(tmp_path: Path) -> None:
    told = configuration(loaded(tmp_path, Findings(together=True, batch_rows=8, pads=True)), Batching())
    assert told["parameters"]["pads"] == {"string_value": "true"}
