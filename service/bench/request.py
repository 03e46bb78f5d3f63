"""HTTP requests as bytes, made once and sent as they are: the generator's time is not what is measured."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from service.protocol import binary
from service.protocol.v2 import tensor_document
from service.tensors import Array, Tensors, datatype_of

Headers = Iterable[tuple[str, str]]


def infer(model: str, inputs: Tensors, timeout: float | None = None) -> bytes:
    """The Open Inference Protocol's request, all JSON. The timeout is in seconds."""
    return post(_path(model), infer_body(inputs), _timeout(timeout))


def infer_body(inputs: Tensors) -> bytes:
    documents = [tensor_document(name, datatype_of(array), array) for name, array in inputs.items()]
    return orjson.dumps({"inputs": documents}, option=orjson.OPT_SERIALIZE_NUMPY)


def infer_binary(model: str, inputs: Tensors, timeout: float | None = None) -> bytes:
    """The same with the tensors as raw bytes behind the JSON, and an answer of the same kind."""
    body, headers = binary_body(inputs)
    return post(_path(model), body, {**headers, **_timeout(timeout)})


def binary_body(inputs: Tensors) -> tuple[bytes, dict[str, str]]:
    """The body, and the header that says where its JSON ends."""
    blobs = {name: binary.encode(array) for name, array in inputs.items()}
    documents = [_binary_document(name, inputs[name], len(blob)) for name, blob in blobs.items()]
    head = orjson.dumps({"inputs": documents, "parameters": {"binary_data_output": True}})
    return b"".join((head, *blobs.values())), {"Inference-Header-Content-Length": str(len(head))}


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP/1.1 request. It offers no content coding: compressing would be measured instead of serving.

    `headers` win over those that a request has anyway.
    """
    own = {"host": ("Host", "127.0.0.1"), "content-type": ("Content-Type", "application/json")}
    given = {name.lower(): (name, value) for name, value in (headers or {}).items()}
    fields = [*(own | given).values(), ("Content-Length", str(len(body)))]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def _binary_document(name: str, array: Array, size: int) -> dict[str, Any]:
    datatype = datatype_of(array).name
    return {
        "name": name,
        "datatype": datatype,
        "shape": array.shape,
        "parameters": {"binary_data_size": size},
    }


def _timeout(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"X-Request-Timeout-Ms": f"{seconds * 1000:g}"}


def _path(model: str) -> str:
    return f"/v2/models/{model}/infer"
