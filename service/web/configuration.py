"""GET /v2/models/{model}/config: a model's configuration in Triton's form, so that Triton's tools can plan by it.

Source: triton-inference-server/server, docs/protocol/extension_model_configuration.md, and the ModelConfig message.
"""

from typing import Any, Final

from service.engine.model import Model
from service.knobs import Batching
from service.tensors import Datatype, TensorSpec

# Triton has no word for "no limit".
_UNLIMITED: Final = 65536


def configuration(model: Model, batching: Batching) -> dict[str, Any]:
    """Shapes leave the batch axis out where there is one, as Triton does; `parameters` says what warm-up has found."""
    return {
        "name": model.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [model.version]}},
        "max_batch_size": _max_batch_size(model),
        "input": [_tensor(spec, model.signature.batch) for spec in model.signature.inputs],
        "output": [_tensor(spec, model.signature.batch) for spec in model.signature.outputs],
        "instance_group": [{"name": model.name, "kind": "KIND_CPU", "count": model.declaration.run_threads}],
        "default_model_filename": "model.onnx",
        "parameters": {name: {"string_value": value} for name, value in _findings(model, batching).items()},
    } | ({"dynamic_batching": {}} if model.batch_limit(batching.max_rows) > 1 else {})


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
    return {"name": spec.name, "data_type": _data_type(spec.datatype), "dims": spec.public_shape[batch:]}


def _data_type(datatype: Datatype) -> str:
    return "TYPE_STRING" if datatype is Datatype.BYTES else f"TYPE_{datatype.name}"
