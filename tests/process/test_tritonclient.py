"""NVIDIA's client of the protocol, both its forms, unchanged against the real service."""

import asyncio
import gc
import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from service import __version__
from tests import tiny
from tests.oip import NUMPY_TYPES, tensor
from tests.process.conftest import ROOT, Service, StartService, client
from tests.process.snippets import snippet

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

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "schedule_policy", "statistics"]

Call = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def nothing_uncollected() -> Iterator[None]:
    """Collect what is left while it may still be."""
    yield
    gc.collect()


@pytest.fixture(params=["http", "http.aio"])
def form(request: pytest.FixtureRequest) -> str:
    """Which of the two clients."""
    return str(request.param)


@pytest.fixture
def call(form: str, service: Service) -> Call:
    """`call("infer", ...)` calls that method of a new client, with a bound on its time."""
    return caller(form, service)


@pytest.fixture(scope="module")
def open_to_administrators(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service that lets its callers load models; one has labels."""
    repository = tiny.repository(tmp_path_factory.mktemp("models"), cats=tiny.double(), loaded=tiny.double())
    (repository / "cats" / "model.toml").write_text('labels = { y = ["lion", "lynx", "ounce", "puma"] }')
    return start_service(repository, ONNICORN_HTTP__ADMIN="true")


@pytest.fixture
def administered(form: str, open_to_administrators: Service) -> Call:
    """The same for that service."""
    return caller(form, open_to_administrators)


def caller(form: str, service: Service) -> Call:
    def plain(method: str, *args: Any, **kwargs: Any) -> Any:
        bounds = {"connection_timeout": SECONDS, "network_timeout": SECONDS}
        with triton.InferenceServerClient(service.api, **bounds) as client:
            return getattr(client, method)(*args, **kwargs)

    async def asynchronous(method: str, *args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(SECONDS), triton_aio.InferenceServerClient(service.api) as client:
            return await getattr(client, method)(*args, **kwargs)

    if form == "http":
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
    assert metadata["extensions"] == EXTENSIONS


def test_a_server_that_loads_models_tells_that_extension_too(administered: Call) -> None:
    repository = {"model_repository", "model_repository(unload_dependents)"}
    assert set(administered("get_server_metadata")["extensions"]) == {*EXTENSIONS, *repository}


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


@pytest.mark.parametrize("version", ["", "1"], ids=["default", "named"])
def test_a_model_tells_its_configuration(call: Call, version: str) -> None:
    told = call("get_model_config", "double", version)
    assert (told["name"], told["backend"], told["platform"]) == ("double", "onnxruntime", "onnxruntime_onnx")
    assert [(each["name"], each["data_type"], each["dims"]) for each in told["input"]] == [("x", "TYPE_FP32", [4])]
    assert [(each["name"], each["data_type"], each["dims"]) for each in told["output"]] == [("y", "TYPE_FP32", [4])]
    assert told["instance_group"] == [{"name": "double", "kind": "KIND_CPU", "count": 2}]
    assert told["model_transaction_policy"] == {"decoupled": False}


def test_statistics_are_those_of_all_workers_and_move(call: Call, service: Service) -> None:
    def told() -> Counter[str]:
        [statistics] = call("get_inference_statistics", "identity_uint8", "1")["model_stats"]
        parts = {name: part["count"] for name, part in statistics["inference_stats"].items()}
        return Counter(parts | {"rows": statistics["inference_count"], "runs": statistics["execution_count"]})

    def moved() -> Counter[str]:
        return told() - before

    before = told()
    sent = inferred_by_both(service)
    failure(call, "infer", "identity_uint8", [given("x", "INT8", np.zeros((1, 2), np.int8))])
    # Counted when the answer has gone out.
    service.wait_until(lambda: moved()["success"] + moved()["fail"] == sent + 1, "counted")
    assert moved() == Counter(
        success=sent,
        fail=1,
        queue=sent,
        compute_input=sent,
        compute_infer=sent,
        compute_output=sent,
        rows=3 * sent,
        runs=sent,
    )


def inferred_by_both(service: Service) -> int:
    """Ask with three rows at a time until both workers have answered; returns how often that was."""
    before, asked = len(service.requests()), 0
    body = {"inputs": [tensor("x", "UINT8", [3, 2], range(6))]}
    with ExitStack() as held:  # a new connection goes to the worker that holds the fewest
        while len({line["pid"] for line in service.requests()[before:] if "rows" in line}) < 2:
            one = held.enter_context(client(service.api))
            assert one.post("/v2/models/identity_uint8/infer", json=body).status_code == 200
            asked += 1
    return asked


def test_statistics_of_all_models_come_where_none_is_named(call: Call) -> None:
    told = call("get_inference_statistics")["model_stats"]
    names = ["double", "add_sub", *(f"identity_{name.lower()}" for name in tiny.DATATYPES)]
    assert [(each["name"], each["version"]) for each in told] == [(name, "1") for name in sorted(names)]


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "json"])
def test_classes_come_with_their_labels(administered: Call, binary: bool) -> None:
    best = triton.InferRequestedOutput("y", binary_data=binary, class_count=2)
    x = given("x", "FP32", np.array([[1, 2, 4, 3], [8, 7, 6, 5]], np.float32))
    classes = administered("infer", "cats", [x], outputs=[best]).as_numpy("y")
    assert classes.shape == (2, 2)
    assert texts(classes) == ["8.0:2:ounce", "6.0:3:puma", "16.0:0:lion", "14.0:1:lynx"]


def test_a_model_is_unloaded_and_loaded(administered: Call) -> None:
    administered("unload_model", "loaded", unload_dependents=True)
    assert administered("is_model_ready", "loaded") is False
    rows = [row for row in administered("get_model_repository_index") if row["name"] == "loaded"]
    assert rows == [{"name": "loaded", "state": "UNAVAILABLE", "reason": "unloaded"}]
    administered("load_model", "loaded")
    assert administered("is_model_ready", "loaded") is True


@pytest.mark.parametrize("given_", [{"config": "{}"}, {"config": "{}", "files": {"file:1/model.onnx": b"x"}}], ids=list)
def test_what_is_not_in_the_repository_is_not_loaded(administered: Call, given_: dict[str, Any]) -> None:
    status, message = failure(administered, "load_model", "loaded", **given_)
    assert status == "400"
    assert message.endswith("is not supported: what is served is what the repository holds")


@pytest.mark.parametrize(
    ("method", "arguments", "path"),
    [
        ("get_trace_settings", [], "/v2/trace/setting"),
        ("get_trace_settings", ["double"], "/v2/models/double/trace/setting"),
        ("update_trace_settings", ["double", {"trace_rate": "1"}], "/v2/models/double/trace/setting"),
        ("get_log_settings", [], "/v2/logging"),
        ("update_log_settings", [{"log_info": False}], "/v2/logging"),
        ("get_system_shared_memory_status", [], "/v2/systemsharedmemory/status"),
        ("register_system_shared_memory", ["r", "/r", 8], "/v2/systemsharedmemory/region/r/register"),
        ("get_cuda_shared_memory_status", [], "/v2/cudasharedmemory/status"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_extension_that_is_not_there_is_said_not_to_be(
    call: Call, method: str, arguments: list[Any], path: str
) -> None:
    assert failure(call, method, *arguments) == (
        "404",
        f"there is nothing at {path}; GET /v2 and /openapi.json say what there is",
    )


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


def test_the_guide_is_true(start_service: StartService) -> None:
    service = start_service(ROOT / "models")
    code = snippet("tritonclient", service.api)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True)
    promised = code.rpartition("# ")[2].split(" ")[0]
    assert done.stdout.startswith(f"[[{promised} ")
    assert done.stdout.count(":") == 6
