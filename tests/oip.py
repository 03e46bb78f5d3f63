"""What a client of the protocol writes and reads: tensors, binary bodies, answers and problems."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

HEADER_LENGTH = "Inference-Header-Content-Length"
NUMPY_TYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}

Json = dict[str, Any]


class Answer(Protocol):
    """As much of an HTTP client's response as the tests look at."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...
    def json(self) -> Any: ...


def tensor(name: str, datatype: str, shape: Sequence[int], data: Sequence[Any]) -> Json:
    """A tensor whose data is JSON."""
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": list(data)}


def blob_tensor(name: str, datatype: str, shape: Sequence[int], size: int, **parameters: Any) -> Json:
    """A tensor whose data is `size` bytes behind the JSON."""
    parameters = {"binary_data_size": size} | parameters
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": parameters}


def binary(document: Json, *blobs: bytes, header: str | None = None) -> Json:
    """The keyword arguments of a `post` whose body is the JSON document and then the blobs."""
    head = json.dumps(document).encode()
    headers = {HEADER_LENGTH: header or str(len(head)), "Content-Type": "application/octet-stream"}
    return {"content": head + b"".join(blobs), "headers": headers}


def length_prefixed(*values: bytes) -> bytes:
    """The elements of a BYTES tensor, each behind its length."""
    return b"".join(len(value).to_bytes(4, "little") + value for value in values)


def split(answer: Answer) -> tuple[Json, list[bytes]]:
    """The JSON of a binary answer, and one blob for each output that has one; nothing may be left over."""
    assert answer.status_code == 200, answer.content
    end = int(answer.headers[HEADER_LENGTH])
    document: Json = json.loads(answer.content[:end])
    blobs = []
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            blobs.append(answer.content[end : end + size])
            end += size
    assert end == len(answer.content)
    return document, blobs


def outputs(answer: Answer) -> list[Json]:
    """The outputs of a good JSON answer."""
    assert answer.status_code == 200, answer.content
    assert HEADER_LENGTH not in answer.headers
    found: list[Json] = answer.json()["outputs"]
    return found


def assert_problem(answer: Answer, status: int, code: str, *mentioned: str) -> None:
    """The answer is this problem, the whole of it, and its sentence mentions these words."""
    body = answer.json()
    sentence = body.get("error")
    request_id = answer.headers["X-Request-ID"]
    assert (answer.status_code, body) == (
        status,
        {"error": sentence, "code": code, "request_id": request_id},
    )
    assert isinstance(sentence, str)
    assert sentence
    assert [word for word in mentioned if not _mentions(sentence, word)] == [], sentence


def _mentions(sentence: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", sentence) is not None
