"""Requests as bytes: what the service reads is what was meant."""

import numpy as np
import pytest

from service.bench import request
from service.knobs import Limits
from service.protocol import v2
from service.tensors import Array, Datatype, Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", Datatype.FP32, (-1, 2)), TensorSpec("t", Datatype.BYTES, (-1,))), ())
TENSORS: dict[str, Array] = {"x": np.array([[0.5, 2]], np.float32), "t": np.array(["zwölf"], object)}


def parts(http: bytes) -> tuple[str, dict[str, str], bytes]:
    """The first line, the headers and the body."""
    head, _, body = http.partition(b"\r\n\r\n")
    first, *lines = head.decode().splitlines()
    return first, dict(line.split(": ", 1) for line in lines), body


def test_json_is_read_as_it_was_meant() -> None:
    first, headers, body = parts(request.infer("cat", TENSORS, timeout=0.5))
    assert first == "POST /v2/models/cat/infer HTTP/1.1"
    assert headers == {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "X-Request-Timeout-Ms": "500",
        "Content-Length": str(len(body)),
    }
    assert_same(v2.decode(body, None, SIGNATURE, Limits()).inputs)


def test_binary_is_read_as_it_was_meant() -> None:
    _, headers, body = parts(request.infer_binary("cat", TENSORS))
    assert_same(v2.decode(body, int(headers["Inference-Header-Content-Length"]), SIGNATURE, Limits()).inputs)


def assert_same(inputs: object) -> None:
    assert isinstance(inputs, dict)
    assert {name: tensor.tolist() for name, tensor in inputs.items()} == {"x": [[0.5, 2]], "t": ["zwölf"]}


@pytest.mark.parametrize("name", ["host", "HOST", "Host"])
def test_a_header_that_is_given_goes_before_the_one_that_every_request_has(name: str) -> None:
    _, headers, _ = parts(request.post("/", b"", {name: "cats"}))
    assert headers == {name: "cats", "Content-Type": "application/json", "Content-Length": "0"}
