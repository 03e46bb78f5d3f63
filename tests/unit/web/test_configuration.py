"""A model's configuration in Triton's form, the whole of it."""

import hashlib
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from service.engine.cache import Cache
from service.engine.declaration import Declaration
from service.engine.manifest import Code, Findings
from service.engine.model import Model
from service.engine.prepare import prepare
from service.engine.session import Compute
from service.knobs import Admission, Batching
from service.web.configuration import configuration
from tests import tiny
from tests.oip import Json
from tests.unit.loading import entry, entry_of

DIGITS = Path(__file__).parent.parent.parent.parent / "models" / "digits"


def given(name: str, datatype: str, *dims: int) -> Json:
    return answered(name, datatype, *dims) | {"format": "FORMAT_NONE", "allow_ragged_batch": False, "optional": False}


def answered(name: str, datatype: str, *dims: int) -> Json:
    return {"name": name, "data_type": datatype, "dims": list(dims), "is_shape_tensor": False}


def configured(
    model: Model, batching: Batching | None = None, admission: Admission | None = None, workers: int = 1
) -> Json:
    return configuration(model, batching or Batching(), admission or Admission(), workers)


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
    assert configured(Model(found, Compute())) == {
        "name": "digits",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 65536,
        "input": [given("image", "TYPE_FP32", 64)],
        "output": [
            answered("label", "TYPE_INT64"),
            answered("probabilities", "TYPE_FP32", 10),
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
        "model_transaction_policy": {"decoupled": False},
        "dynamic_batching": {
            "preferred_batch_size": [16],
            "max_queue_delay_microseconds": 0,
            "priority_levels": 0,
            "default_priority_level": 0,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": 0,
                "allow_timeout_override": True,
                "max_queue_size": 10_000,
            },
        },
    }


def test_the_configuration_of_a_model_without_a_batch_axis(tmp_path: Path) -> None:
    checked = entry(tiny.two_free(), tmp_path, "outer", 3, run_threads=2)
    assert configured(Model(checked, Compute()), workers=3) == {
        "name": "outer",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [
            given("a", "TYPE_FP32", -1),
            given("b", "TYPE_FP32", -1),
        ],
        "output": [answered("outer", "TYPE_FP32", -1, -1)],
        "instance_group": [{"name": "outer", "kind": "KIND_CPU", "count": 6}],
        "default_model_filename": "model.onnx",
        "parameters": {
            "batch_rows": {"string_value": "1"},
            "inline_rows": {"string_value": "0"},
            "pads": {"string_value": "false"},
            "prepared": {"string_value": "false"},
            "digest": {"string_value": checked.digest},
            "verified": {"string_value": "false"},
        },
        "model_transaction_policy": {"decoupled": False},
    }


def test_libraries_of_custom_operators_are_shown_by_their_digests(tmp_path: Path) -> None:
    model = Model(entry(tiny.double(), tmp_path), Compute())
    model.entry = model.entry.model_copy(update={"operator_digests": ("cafe", "beef")})
    shown = configured(model)["parameters"]["operator_digests"]
    assert shown == {"string_value": "cafe,beef"}


def test_the_code_of_a_transform_is_shown_by_its_digest(tmp_path: Path) -> None:
    model = Model(entry(tiny.double(), tmp_path), Compute())
    code = Code(folder=tmp_path, target="transform.py", digest="cafe")
    model.entry = model.entry.model_copy(update={"transform": code})
    assert configured(model)["parameters"]["transform_digest"] == {"string_value": "cafe"}


@pytest.mark.parametrize("datatype", tiny.DATATYPES)
def test_datatypes_have_tritons_names(tmp_path: Path, datatype: str) -> None:
    model = Model(entry(tiny.identity(datatype), tmp_path), Compute())
    name = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    assert configured(model)["input"] == [given("x", name, -1)]


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
    told = configured(loaded(tmp_path, findings, **declared), Batching(max_rows=max_rows))
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
    told = configured(loaded(tmp_path, findings), Batching(max_rows=max_rows))
    assert ("dynamic_batching" in told) is is_dynamic


def test_an_open_rank_reads_as_one_free_dimension(tmp_path: Path) -> None:
    model = Model(entry(tiny.unknown_rank(), tmp_path), Compute())
    assert configured(model)["output"] == [answered("y", "TYPE_FP32", -1)]


def test_padding_that_won_is_told(tmp_path: Path) -> None:
    told = configured(loaded(tmp_path, Findings(together=True, batch_rows=8, pads=True)))
    assert told["parameters"]["pads"] == {"string_value": "true"}


@pytest.mark.parametrize(
    ("versions", "policy"),
    [("latest", {"latest": {"num_versions": 1}}), ("all", {"all": {}}), ((1, 3), {"specific": {"versions": [1, 3]}})],
)
def test_the_versions_that_are_declared_are_tritons_policy(tmp_path: Path, versions: Any, policy: Json) -> None:
    model = Model(entry(tiny.double(), tmp_path, versions=versions), Compute())
    assert configured(model)["version_policy"] == policy


def test_how_requests_wait_is_told_as_it_is_set(tmp_path: Path) -> None:
    told = configured(
        loaded(tmp_path, Findings(together=True, batch_rows=8)),
        Batching(linger_ms=1.5),
        Admission(priority_levels=4, default_timeout_ms=250, max_waiting=7),
    )
    assert told["dynamic_batching"] == {
        "preferred_batch_size": [8],
        "max_queue_delay_microseconds": 1500,
        "priority_levels": 4,
        "default_priority_level": 3,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": 250_000,
            "allow_timeout_override": True,
            "max_queue_size": 7,
        },
    }


@pytest.mark.parametrize("model", tiny.servable())
def test_a_configuration_is_a_message_of_tritons(tmp_path: Path, model: str) -> None:
    """As its own client knows it, which would need gRPC to be imported as a whole."""
    spec = find_spec("tritonclient")
    assert spec
    assert spec.submodule_search_locations
    messages = runpy.run_path(f"{spec.submodule_search_locations[0]}/grpc/model_config_pb2.py")
    told = configured(Model(entry(tiny.servable()[model], tmp_path, model), Compute()))
    message = ParseDict(told, messages["ModelConfig"]())
    assert (message.name, message.backend) == (model, "onnxruntime")
