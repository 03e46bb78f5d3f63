"""HTTP requests as bytes, made once and sent as they are: the generator's time is not what is measured."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson

from benchmarks import models
from benchmarks.session import Array, Inputs

DATATYPES: Final[dict[np.dtype[Any], str]] = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64"}
_SEED: Final = 1


def infer(model: str, inputs: Inputs, timeout: float | None = None) -> bytes:
    """The Open Inference Protocol's request, all JSON. The timeout is in seconds."""
    return post(_path(model), infer_body(inputs), _timeout(timeout))


def infer_body(inputs: Inputs) -> bytes:
    documents = [{**_head(name, array), "data": array.reshape(-1)} for name, array in inputs.items()]
    return orjson.dumps({"inputs": documents}, option=orjson.OPT_SERIALIZE_NUMPY)


def infer_binary(model: str, inputs: Inputs, timeout: float | None = None) -> bytes:
    """The same with the tensors as raw bytes behind the JSON, and an answer of the same kind."""
    documents = [
        {**_head(name, array), "parameters": {"binary_data_size": array.nbytes}} for name, array in inputs.items()
    ]
    head = orjson.dumps({"inputs": documents, "parameters": {"binary_data_output": True}})
    body = b"".join((head, *(array.tobytes() for array in inputs.values())))
    return post(_path(model), body, {"Inference-Header-Content-Length": str(len(head)), **_timeout(timeout)})


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP/1.1 request. It offers no content coding: compressing would be measured instead of serving."""
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", **(headers or {}), "Content-Length": len(body)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def predict(inputs: Inputs) -> bytes:
    """What the template takes: the inputs by name, in rows."""
    return post("/predict", orjson.dumps(dict(inputs), option=orjson.OPT_SERIALIZE_NUMPY))


def digits() -> Array:
    """One scan, 8 x 8 grey values."""
    return np.random.default_rng(_SEED).integers(0, 17, (1, 64)).astype(np.float32)


def picture() -> Array:
    """One picture, 150,528 floats."""
    return np.random.default_rng(_SEED).random((1, *models.IMAGE), dtype=np.float32)


def row(width: int = models.GEMM_WIDTH) -> Array:
    return np.random.default_rng(_SEED).random((1, width), dtype=np.float32)


def sentences(count: int) -> list[dict[str, Array]]:
    """Token ids of 8 to 64 per sentence, every length as likely as any other."""
    random = np.random.default_rng(_SEED)
    found = []
    for length in random.integers(8, 65, count):
        ids = random.integers(1000, 30000, (1, length))
        found.append({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return found


def _timeout(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"X-Request-Timeout-Ms": f"{seconds * 1000:g}"}


def _path(model: str) -> str:
    return f"/v2/models/{model}/infer"


def _head(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[array.dtype], "shape": array.shape}
