"""GET /v2/models/{model}/config: a model's configuration in Triton's form, so that Triton's tools can plan by it.

Source: triton-inference-server/server, docs/protocol/extension_model_configuration.md, and the ModelConfig message.
"""

from typing import Any, Final

from service.engine.model import Model
from service.knobs import Admission, Batching
from service.tensors import Datatype, TensorSpec

# Triton has no word for "no limit".
_UNLIMITED: Final = 65536
_OF_AN_INPUT: Final = {"format": "FORMAT_NONE", "allow_ragged_batch": False, "optional": False}


def configuration(model: Model, batching: Batching, admission: Admission, workers: int) -> dict[str, Any]:
    """Shapes leave the batch axis out where there is one, as Triton does; `parameters` says what warm-up has found."""
    rows = model.batch_limit(batching.max_rows)
    instances = workers * model.declaration.run_threads
    return {
        "name": model.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": _version_policy(model.declaration.versions),
        "max_batch_size": _max_batch_size(model),
        "input": [_tensor(spec, model.signature.batch) | _OF_AN_INPUT for spec in model.signature.inputs],
        "output": [_tensor(spec, model.signature.batch) for spec in model.signature.outputs],
        "instance_group": [{"name": model.name, "kind": "KIND_CPU", "count": instances}],
        "default_model_filename": "model.onnx",
        "parameters": {name: {"string_value": value} for name, value in _findings(model, batching).items()},
        "model_transaction_policy": {"decoupled": False},
    } | ({"dynamic_batching": _dynamic_batching(rows, batching, admission)} if rows > 1 else {})


def _version_policy(versions: str | tuple[int, ...]) -> dict[str, Any]:
    if isinstance(versions, str):
        return {"latest": {"num_versions": 1}} if versions == "latest" else {"all": {}}
    return {"specific": {"versions": list(versions)}}


def _dynamic_batching(rows: int, batching: Batching, admission: Admission) -> dict[str, Any]:
    levels = admission.priority_levels
    return {
        "preferred_batch_size": [rows],
        "max_queue_delay_microseconds": int(batching.linger_ms * 1000),
        "priority_levels": levels,
        "default_priority_level": levels and levels // 2 + 1,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": int(admission.default_timeout_ms * 1000),
            "allow_timeout_override": True,
            "max_queue_size": admission.max_waiting,
        },
    }


def _max_batch_size(model: Model) -> int:
    """Triton's word for the most rows in one request, 0 without a batch axis."""
    return (model.declaration.limits.max_rows or _UNLIMITED) if model.signature.batch else 0


def _findings(model: Model, batching: Batching) -> dict[str, str]:
    digests = {
        "operator_digests": ",".join(model.entry.operator_digests),
        "transform_digest": model.entry.transform.digest if model.entry.transform else "",
    }
    return {
        "batch_rows": str(model.batch_limit(batching.max_rows)),
        "inline_rows": str(model.findings.inline_rows),
        "pads": str(model.findings.pads).lower(),
        "prepared": str(model.is_prepared).lower(),
        "digest": model.digest,
        "verified": str(model.entry.verified).lower(),
    } | {name: digest for name, digest in digests.items() if digest}


def _tensor(spec: TensorSpec, batch: bool) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": _data_type(spec.datatype),
        "dims": spec.public_shape[batch:],
        "is_shape_tensor": False,
    }


def _data_type(datatype: Datatype) -> str:
    return "TYPE_STRING" if datatype is Datatype.BYTES else f"TYPE_{datatype.name}"
