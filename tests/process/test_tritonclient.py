"""NVIDIA's client of the protocol, both its forms, unchanged against the real service."""

import asyncio
import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from service import __version__
from tests import tiny
from tests.oip import NUMPY_TYPES
from tests.process.conftest import Service

SECONDS = 20
"""How long any one call may take."""

# Where only the status counts, the asynchronous client leaves the body unread and its connection to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")

VALUES: dict[str, np.ndarray] = {
    "FP32": np.array([[0.1, -3.4e38]], np.float32),
    "FP64": np.array([[0.1, 5e-324]]),
    "FP16": np.array([[0.1, -65504.0]], np.float16),
    "INT64": np.array([[-(2**63), 2**53 + 1]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "BOOL": np.array([[True, False]]),
    "BYTES": np.array([["plain", "Grüße, 世界 🦄"]], np.object_),
}
LONG = np.array([["abc" * 1_000]], np.object_)

Call = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def nothing_uncollected() -> Iterator[None]:
    """Collect what is left while it may still be."""
    yield
    gc.collect()


@pytest.fixture(params=["http", "http.aio"])
def call(request: pytest.FixtureRequest, service: Service) -> Call:
    """`call("infer", ...)` calls that method of a new client, with a bound on its time."""

    def plain(method: str, *args: Any, **kwargs: Any) -> Any:
        bounds = {"connection_timeout": SECONDS, "network_timeout": SECONDS}
        with triton.InferenceServerClient(service.api, **bounds) as client:
            return getattr(client, method)(*args, **kwargs)

    async def asynchronous(method: str, *args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(SECONDS), triton_aio.InferenceServerClient(service.api) as client:
            return await getattr(client, method)(*args, **kwargs)

    if request.param == "http":
        return plain
    return lambda *args, **kwargs: asyncio.run(asynchronous(*args, **kwargs))


def given(name: str, datatype: str, values: np.ndarray, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def wanted(*names: str, binary: bool = True) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def a_and_b() -> list[triton.InferInput]:
    a = np.arange(16, dtype=np.int32).reshape(1, 16)
    return [given("a", "INT32", a), given("b", "INT32", np.full_like(a, 100))]


def texts(values: np.ndarray) -> list[str]:
    """The elements as text, which the client leaves as bytes in binary answers."""
    return [value.decode() if isinstance(value, bytes) else value for value in values.flatten()]


def assert_same(datatype: str, got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    if datatype == "BYTES":
        assert texts(got) == texts(expected)
    else:
        assert got.dtype == np.dtype(NUMPY_TYPES[datatype])
        assert got.tolist() == expected.tolist()


def failure(call: Call, *args: Any, **kwargs: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as raised:
        call(*args, **kwargs)
    return raised.value.status(), raised.value.message()


def test_the_server_is_live_and_ready(call: Call) -> None:
    assert call("is_server_live") is True
    assert call("is_server_ready") is True


def test_the_server_tells_its_name_and_extensions(call: Call) -> None:
    metadata = call("get_server_metadata")
    assert (metadata["name"], metadata["version"]) == ("onnicorn", __version__)
    assert "binary_tensor_data" in metadata["extensions"]


@pytest.mark.parametrize("version", ["", "1"], ids=["default", "named"])
def test_a_model_tells_its_signature(call: Call, version: str) -> None:
    assert call("get_model_metadata", "double", version) == {
        "name": "double",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
        "parameters": {"digest": hashlib.sha256(tiny.double().SerializeToString()).hexdigest(), "verified": False},
    }


@pytest.mark.parametrize(
    ("model", "version", "ready"),
    [("double", "", True), ("double", "1", True), ("double", "2", False), ("unheard", "", False)],
)
def test_a_model_that_is_served_is_ready(call: Call, model: str, version: str, ready: bool) -> None:
    assert call("is_model_ready", model, version) is ready


def test_the_repository_index_lists_every_model(call: Call) -> None:
    names = ["double", "add_sub", *(f"identity_{name.lower()}" for name in tiny.DATATYPES)]
    index = call("get_model_repository_index")
    assert sorted(index, key=lambda row: row["name"]) == [
        {"name": name, "version": "1", "state": "READY", "reason": ""} for name in sorted(names)
    ]


@pytest.mark.parametrize("binary_out", [True, False], ids=["bytes out", "json out"])
@pytest.mark.parametrize(
    ("datatype", "binary_in"),
    # The client sends FP16 as bytes only.
    [(name, binary) for name in VALUES for binary in (True, False) if binary or name != "FP16"],
    ids=lambda value: value if isinstance(value, str) else ("bytes in" if value else "json in"),
)
def test_values_survive(call: Call, datatype: str, binary_in: bool, binary_out: bool) -> None:
    values = VALUES[datatype]
    result = call(
        "infer",
        f"identity_{datatype.lower()}",
        [given("x", datatype, values, binary_in)],
        outputs=wanted("y", binary=binary_out),
    )
    assert_same(datatype, result.as_numpy("y"), values)


def test_all_outputs_come_when_none_is_asked_for(call: Call) -> None:
    result = call("infer", "add_sub", a_and_b())
    assert result.as_numpy("sum").tolist() == [list(range(100, 116))]
    assert result.as_numpy("difference").tolist() == [list(range(-100, -84))]


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
def test_only_the_outputs_asked_for_come(call: Call, binary: bool) -> None:
    result = call("infer", "add_sub", a_and_b(), outputs=wanted("difference", binary=binary))
    assert result.as_numpy("difference").tolist() == [list(range(-100, -84))]
    assert result.as_numpy("sum") is None


@pytest.mark.parametrize("version", ["", "1"], ids=["default", "named"])
def test_an_answer_tells_model_version_and_id(call: Call, version: str) -> None:
    response = call("infer", "add_sub", a_and_b(), version, request_id="mine").get_response()
    assert [response[key] for key in ("model_name", "model_version", "id")] == ["add_sub", "1", "mine"]


def test_an_empty_tensor_survives(call: Call) -> None:
    empty = np.empty((0, 3), np.float32)
    result = call("infer", "identity_fp32", [given("x", "FP32", empty)])
    assert_same("FP32", result.as_numpy("y"), empty)


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
@pytest.mark.parametrize("values", [VALUES["BYTES"], LONG], ids=["short", "long"])
@pytest.mark.parametrize("answer", ["gzip", "deflate", None])
@pytest.mark.parametrize("request_", ["gzip", "deflate", None])
def test_compression_works_both_ways(
    call: Call, request_: str | None, answer: str | None, values: np.ndarray, binary: bool
) -> None:
    result = call(
        "infer",
        "identity_bytes",
        [given("x", "BYTES", values, binary)],
        outputs=wanted("y", binary=binary),
        request_compression_algorithm=request_,
        response_compression_algorithm=answer,
    )
    assert_same("BYTES", result.as_numpy("y"), values)


WRONG_SHAPE = given("x", "FP32", np.ones((1, 3), np.float32))
WRONG_DATATYPE = given("x", "INT64", np.ones((1, 4), np.int64))
RIGHT = given("x", "FP32", np.ones((1, 4), np.float32))
UNKNOWN = given("z" * 2_000, "FP32", np.ones((1, 4), np.float32))


@pytest.mark.parametrize("compression", ["gzip", "deflate", None])
@pytest.mark.parametrize(
    ("model", "version", "tensor", "outputs", "status", "words"),
    [
        pytest.param("unheard", "", RIGHT, None, "404", ["unheard"], id="unknown model"),
        pytest.param("double", "2", RIGHT, None, "404", ["double", "2"], id="unknown version"),
        pytest.param("double", "", WRONG_SHAPE, None, "400", ["FP32[-1,4]", "FP32[1,3]"], id="wrong shape"),
        pytest.param("double", "", WRONG_DATATYPE, None, "400", ["FP32[-1,4]", "INT64[1,4]"], id="wrong datatype"),
        pytest.param("double", "", RIGHT, wanted("product"), "400", ["product"], id="unknown output"),
        pytest.param("double", "", UNKNOWN, None, "400", ["zzz"], id="a long message"),
    ],
)
def test_a_refusal_is_raised_with_its_status_and_message(
    call: Call,
    compression: str | None,
    model: str,
    version: str,
    tensor: triton.InferInput,
    outputs: Sequence[triton.InferRequestedOutput] | None,
    status: str,
    words: list[str],
) -> None:
    got_status, message = failure(
        call, "infer", model, [tensor], version, outputs=outputs, response_compression_algorithm=compression
    )
    assert got_status == status
    assert [word for word in words if word not in message] == []
    assert "while decoding the response" not in message


def test_metadata_of_an_unknown_model_is_an_error(call: Call) -> None:
    status, message = failure(call, "get_model_metadata", "unheard")
    assert (status, "unheard" in message) == ("404", True)


def test_a_client_can_be_used_again_after_an_error(service: Service) -> None:
    with triton.InferenceServerClient(service.api, network_timeout=SECONDS) as client:
        with pytest.raises(InferenceServerException):
            client.infer("double", [WRONG_SHAPE])
        assert client.infer("double", [RIGHT]).as_numpy("y").tolist() == [[2, 2, 2, 2]]


def test_requests_of_one_client_run_side_by_side(service: Service) -> None:
    with triton.InferenceServerClient(service.api, concurrency=8, network_timeout=SECONDS) as client:
        rows = [np.full((1, 4), number, np.float32) for number in range(32)]
        waiting = [client.async_infer("double", [given("x", "FP32", row)]) for row in rows]
        answers = [request.get_result(timeout=SECONDS).as_numpy("y") for request in waiting]
    assert [answer.tolist() for answer in answers] == [(2 * row).tolist() for row in rows]
