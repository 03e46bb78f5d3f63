"""The least that can be called serving: a raw ASGI app round `session.run`, on the event loop, that checks nothing.

It reads and writes the same bodies as the service, so both get the same bytes. It has no ids, log, metrics, limits,
errors or batches; one slow run blocks everything else.
"""

import os
from typing import Any, Final

import numpy as np
import orjson

from benchmarks.session import Array, load

DATATYPES: Final[dict[np.dtype[Any], str]] = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64"}
_NUMPY: Final[dict[str, np.dtype[Any]]] = {name: dtype for dtype, name in DATATYPES.items()}
_LENGTH: Final = b"inference-header-content-length"


class Bare:
    def __init__(self, model: str) -> None:
        self.session = load(model)
        self.outputs = [output.name for output in self.session.get_outputs()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await _read(receive)
        length = dict(scope["headers"]).get(_LENGTH)
        headers, answer = self._answer_json(body) if length is None else self._answer_binary(body, int(length))
        headers.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer_json(self, body: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
        tensors = {
            tensor["name"]: np.array(tensor["data"], _NUMPY[tensor["datatype"]]).reshape(tensor["shape"])
            for tensor in orjson.loads(body)["inputs"]
        }
        outputs = [{**head, "data": array.reshape(-1)} for head, array in self._run(tensors)]
        return [(b"content-type", b"application/json")], _dumps(outputs)

    def _answer_binary(self, body: bytes, length: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
        tensors, position = {}, length
        for tensor in orjson.loads(body[:length])["inputs"]:
            end = position + tensor["parameters"]["binary_data_size"]
            data = np.frombuffer(memoryview(body)[position:end], _NUMPY[tensor["datatype"]])
            tensors[tensor["name"]], position = data.reshape(tensor["shape"]), end
        found = self._run(tensors)
        text = _dumps([{**head, "parameters": {"binary_data_size": array.nbytes}} for head, array in found])
        headers = [(b"content-type", b"application/octet-stream"), (_LENGTH, str(len(text)).encode())]
        return headers, b"".join((text, *(array.tobytes() for _, array in found)))

    def _run(self, tensors: dict[str, Array]) -> list[tuple[dict[str, Any], Array]]:
        return [
            ({"name": name, "datatype": DATATYPES[array.dtype], "shape": array.shape}, array)
            for name, array in zip(self.outputs, self.session.run(None, tensors), strict=True)
        ]


async def _read(receive: Any) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message["body"])
        if not message["more_body"]:
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _dumps(outputs: list[dict[str, Any]]) -> bytes:
    return orjson.dumps({"model_name": "bare", "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)


def create_app() -> Bare:
    return Bare(os.environ["BENCHMARK_MODEL"])
