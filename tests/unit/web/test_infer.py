"""The inference paths without a server: which requests they take, what they note of each, and what they send."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from service.engine.catalogue import Catalogue
from service.errors import MalformedRequest, MethodNotAllowed, ModelNotFound, OnnicornError, SignatureMismatch
from service.knobs import Admission, Http, Limits
from service.protocol.v2 import OutputTensor
from service.telemetry.metrics import ModelObserver
from service.telemetry.record import Record
from service.tensors import Datatype
from service.web.doors import Doors
from service.web.infer import Infer, _is_long
from service.web.passage import Passage
from service.web.records import attach
from service.web.routes import INFER, ROUTE, VERSION_ROUTE
from tests.oip import Json, tensor
from tests.unit.serving import serving
from tests.unit.web.asgi import send_to

PATH = "/v2/models/double/infer"
TIMING = re.compile(b", ".join(rb"%s;dur=[0-9]+\.[0-9]{3}" % stage for stage in b"decode queue run encode".split()))
X = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])


class Elsewhere:
    """What all other requests go on to; it remembers them."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def infer(catalogue: Catalogue, elsewhere: Elsewhere) -> Iterator[Doors]:
    """In front of the tiny models."""
    dataplane = serving(catalogue, ModelObserver())
    passage = Passage(dataplane, Http(), Limits(), Admission())
    yield Doors(elsewhere, {INFER: Infer(passage)})
    dataplane.close()


def scope_of(path: str, record: Record, method: str = "POST", **headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": raw}
    attach(scope, record)
    return scope


def post(
    infer: Doors, document: Json, path: str = PATH, record: Record | None = None, **headers: str
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of the answer."""
    body = {"type": "http.request", "body": json.dumps(document).encode(), "more_body": False}
    start, answer = send_to(infer, scope_of(path, record or Record("7", None, "POST"), **headers), [body])
    assert {key: value for key, value in start.items() if key != "headers"} == {
        "type": "http.response.start",
        "status": 200,
    }
    assert answer.keys() == {"type", "body"}
    *kept, (name, value) = start["headers"]
    assert name == b"server-timing"
    assert TIMING.fullmatch(value)
    return kept, answer["body"]


def refused(infer: Doors, record: Record, path: str, document: Json | None, method: str = "POST") -> OnnicornError:
    body = [{"type": "http.request", "body": json.dumps(document).encode()}] if document is not None else []
    with pytest.raises(OnnicornError) as caught:
        send_to(infer, scope_of(path, record, method), body)
    return caught.value


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/double",
        "/v2/models/double/ready",
        "/v2/models/double/infer/",
        "/v2/models/double/infer/more",
        "/v2/models//infer",
        "/v2/models/a/b/infer",
        "/v2/models/double/versions/infer",
        "/v2/models/double/versions/1/2/infer",
        "/V2/models/double/infer",
        "/more/v2/models/double/infer",
        "/",
    ],
)
def test_other_paths_go_on_as_they_came(infer: Doors, elsewhere: Elsewhere, path: str) -> None:
    record = Record("7", None, "POST")
    scope = scope_of(path, record)
    assert send_to(infer, scope) == []
    assert elsewhere.scopes == [scope]
    assert record.route == "unmatched"


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_what_is_no_request_goes_on_as_it_came(infer: Doors, elsewhere: Elsewhere, kind: str) -> None:
    assert send_to(infer, {"type": kind}) == []
    assert elsewhere.scopes == [{"type": kind}]


@pytest.mark.parametrize(("path", "route"), [(PATH, ROUTE), ("/v2/models/double/versions/1/infer", VERSION_ROUTE)])
def test_the_record_has_all_that_is_known_of_an_inference(infer: Doors, path: str, route: str) -> None:
    record = Record("7", None, "POST")
    document = {"inputs": [tensor("x", "FP32", [2, 4], range(8))]}
    post(infer, document, path, record)
    assert (record.route, record.model, record.version, record.rows) == (route, "double", 1, 2)
    assert record.bytes_in == len(json.dumps(document))
    times = (record.decode, record.queue, record.run, record.encode)
    assert [time for time in times if time is None or time < 0] == []


@pytest.mark.parametrize(
    ("path", "document", "error", "model"),
    [
        ("/v2/models/nobody/infer", None, ModelNotFound, ""),
        (PATH, {}, MalformedRequest, "double"),
        (PATH, {"inputs": []}, SignatureMismatch, "double"),
        (PATH, {"inputs": [X], "outputs": [{"name": "z"}]}, SignatureMismatch, "double"),
    ],
)
def test_the_record_of_a_refused_request_has_what_was_known_by_then(
    infer: Doors, path: str, document: Json | None, error: type[OnnicornError], model: str
) -> None:
    """The body of a request for a model that nobody has is not even read."""
    record = Record("7", None, "POST")
    assert type(refused(infer, record, path, document)) is error
    assert (record.route, record.model, record.rows, record.run) == (ROUTE, model, None, None)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_model_is_run_by_posting_alone(infer: Doors, method: str) -> None:
    """A layer outside turns HEAD into GET; the record knows what it was."""
    error = refused(infer, Record("7", None, method), PATH, None, "GET" if method == "HEAD" else method)
    assert isinstance(error, MethodNotAllowed)
    assert (str(error), error.allowed) == (f"{PATH} does not know {method}; it knows POST", "POST")


@pytest.mark.parametrize(("given", "told"), [("mine", "mine"), ("", "7"), (None, "7")])
def test_an_answer_has_the_id_of_the_request_or_of_its_record(infer: Doors, given: str | None, told: str) -> None:
    _, answer = post(infer, {"inputs": [X], "id": given})
    assert json.loads(answer)["id"] == told


def test_the_whole_answer_in_json(infer: Doors) -> None:
    headers, answer = post(infer, {"inputs": [X]})
    assert answer == (
        b'{"model_name":"double","model_version":"1","id":"7",'
        b'"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[2.0,4.0,6.0,8.0]}]}'
    )
    assert headers == [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]


def test_the_whole_answer_with_bytes_behind_it(infer: Doors) -> None:
    headers, answer = post(infer, {"inputs": [X], "parameters": {"binary_data_output": True}})
    text = (
        b'{"model_name":"double","model_version":"1","id":"7",'
        b'"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":16}}]}'
    )
    assert answer == text + np.array([2, 4, 6, 8], np.float32).tobytes()
    assert headers == [
        (b"content-type", b"application/octet-stream"),
        (b"inference-header-content-length", b"%d" % len(text)),
        (b"content-length", b"%d" % len(answer)),
    ]


@pytest.mark.parametrize("rows", [1, 2000])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("coding", "read"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_a_compressed_answer_is_the_same_whatever_its_size(
    infer: Doors, rows: int, binary: bool, coding: str, read: Callable[[bytes], bytes]
) -> None:
    """A long one is compressed beside the event loop."""
    document = {
        "inputs": [tensor("x", "FP32", [rows, 4], range(rows * 4))],
        "parameters": {"binary_data_output": binary},
    }
    plain_headers, plain = post(infer, document)
    headers, answer = post(infer, document, accept_encoding=coding)
    assert read(answer) == plain
    assert headers == [
        *plain_headers[:-1],
        (b"content-encoding", coding.encode()),
        (b"vary", b"accept-encoding"),
        (b"content-length", b"%d" % len(answer)),
    ]


@pytest.mark.parametrize("rows", [4096, 4097, 100_000])
def test_a_long_answer_is_the_same_as_a_short_one(infer: Doors, rows: int) -> None:
    """It is written beside the event loop, in chunks."""
    _, answer = post(infer, {"inputs": [tensor("x", "FP32", [rows, 4], [0.5] * rows * 4)]})
    assert json.loads(answer)["outputs"] == [tensor("y", "FP32", [rows, 4], [1.0] * rows * 4)]


@pytest.mark.parametrize(("count", "long"), [(10, False), (20_000, True)])
def test_one_long_tensor_makes_an_answer_long(count: int, long: bool) -> None:
    few, many = (OutputTensor("y", Datatype.FP32, np.zeros(size, np.float32), False) for size in (1, count))
    assert (_is_long([few, many]), _is_long([many, few]), _is_long([])) == (long, long, False)
