"""Requests that are nearly right, through the whole app in this process: each is answered, and never with a 500."""

import asyncio
import gzip
import json
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from starlette.testclient import TestClient

from service import errors
from service.settings import Settings
from service.web.app import create_app
from service.web.problems import STATUSES
from service.web.timeouts import HEADERS as TIMEOUTS
from tests import tiny
from tests.fuzz.conftest import Rounds
from tests.fuzz.mutation import corpus, mutate

ALLOWED: Final = {200} | {status for error, status in STATUSES.items() if issubclass(error, errors.CallerError)}
# Where there is a timeout it may be foreseen, or seen, that it is over.
TOO_LATE: Final = {503, 504}
SECONDS: Final = 30
"""A request that takes so long hangs."""
MODELS: Final = ("double", "identity_bytes", "add_sub", "identity_uint8")
PATHS: Final = (
    *("/v2", "/v2/models", "/v2/health/live", "/v2/health/ready", "/v2/repository/index", "/openapi.json", "/nothing"),
    *(f"/v2/models/{model}{path}" for model in MODELS for path in ("", "/ready", "/config", "/versions/1")),
)
INFER: Final = [
    path
    for model in MODELS
    for version in ("", "/versions/1")
    for path in (f"/v2/models/{model}{version}/infer", f"/v1/models/{model}{version}:predict")
]
LONG: Final = b"a" * 60_000
# Two lists of ten of the caller's names, each of a hundred characters, and what is around them.
LONGEST_SENTENCE: Final = 2500
HEADERS: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"content-type": (b"application/json", b"application/octet-stream", b"text/plain", b";", LONG),
    b"content-encoding": (b"gzip", b"deflate", b"gzip, deflate", b"identity", b"br", b"gzip," * 9, LONG),
    b"accept-encoding": (b"gzip", b"deflate", b"gzip;q=0", b"br, gzip;q=1.0", b"*", b"," * 60_000, LONG),
    b"inference-header-content-length": (b"0", b"10", b"-1", b"1e3", b"", b"9" * 30, b"\xb2", LONG),
    b"content-length": (b"0", b"10", b"-1", b"9" * 30, b"\xb2", b"x"),
    b"x-request-id": (b"7", b"a\r\nb", b"\xff", LONG),
    b"traceparent": (b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"01", LONG),
    b"x-request-timeout-ms": (b"0", b"0.001", b"60000", b"-1", b"1e9", b"9" * 30, LONG),
    b"x-envoy-expected-rq-timeout-ms": (b"0", b"15000", b"nan", LONG),
    b"grpc-timeout": (b"1n", b"10S", b"99999999H", b"0S", b"5", LONG),
    b"accept": (b"*/*", b"application/openmetrics-text", LONG),
}
SEEDS: Final = [
    *corpus().values(),
    *(
        json.dumps({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]}).encode()
        for datatype, shape, data in (
            ("FP32", [2, 4], [1] * 8),
            ("FP32", [0, 4], []),
            ("BYTES", [1, 2], ["a", "zwölf"]),
            ("UINT8", [2, 1], [[0], [255]]),
        )
    ),
    b'{"instances": [[1, 2, 3, 4], {"x": [5, 6, 7, 8]}]}',
    b'{"instances": [[1, 2, 3, 4]], "parameters": {"timeout": 60000000, "priority": 1}}',
    b'{"instances": [["a"], [{"b64": "w7w="}]]}',
    b'{"instances": [{"x": [0]}, {"x": 255}]}',
    b'{"inputs": {"x": [[1, 2, 3, 4]]}, "signature_name": "serving_default"}',
    json.dumps({"instances": [{"a": [1] * 16, "b": [2] * 16}]}).encode(),
    json.dumps({"inputs": {"a": [[1] * 16], "b": [[2] * 16]}}).encode(),
]


class Asked(NamedTuple):
    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Any]:
    """The tiny models that compute something of whatever they are given."""
    models = tiny.repository(
        tmp_path_factory.mktemp("fuzzed"),
        double=tiny.double(),
        add_sub=tiny.add_sub(),
        identity_bytes=tiny.identity("BYTES"),
        identity_uint8=tiny.identity("UINT8"),
    )
    settings = Settings(
        repository={"path": str(models)},
        cache={"dir": str(cache_dir)},
        http={"max_body_bytes": 1 << 20},
        limits={"answer_bytes": 65_536, "elements": 65_536, "string_bytes": 4_096, "tensors": 32},
    )
    app = create_app(settings)
    with TestClient(app):
        yield app


def some_request(chance: random.Random) -> Asked:
    """Half of them right but for the body."""
    path, method = chance.choice(INFER), "POST"
    if chance.random() < 0.1:
        path = chance.choice(PATHS)
        method = chance.choice(("GET", "HEAD", "POST"))
    body = mutate(chance, chance.choice(SEEDS), SEEDS) if method == "POST" else b""
    headers = {b"inference-header-content-length": str(body.rfind(b"}") + 1).encode()} if chance.random() < 0.3 else {}
    if chance.random() < 0.1:
        pack, name = chance.choice(((gzip.compress, b"gzip"), (zlib.compress, b"deflate")))
        body, headers[b"content-encoding"] = pack(body, 1), name
    if chance.random() < 0.2:
        name = chance.choice(list(HEADERS))
        headers[name] = mutate(chance, chance.choice(HEADERS[name]), most=1)
    if chance.random() < 0.05:
        path = "/" + mutate(chance, path.encode()).decode("utf-8", "replace")
    if chance.random() < 0.05:
        method = chance.choice(("PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "BREW", ""))
    lines = list(headers.items())
    if lines and chance.random() < 0.1:
        lines.append(chance.choice(lines))
    return Asked(method, path[:8000], lines, body)


async def answer_of(app: Any, asked: Asked, chance: random.Random) -> tuple[int, dict[bytes, bytes], bytes]:
    """The body comes in one piece or in several."""
    edge = chance.randrange(len(asked.body) + 1) if chance.random() < 0.2 else len(asked.body)
    pieces = [asked.body[:edge], asked.body[edge:]] if edge < len(asked.body) else [asked.body]
    messages = [
        {"type": "http.request", "body": piece, "more_body": place < len(pieces)}
        for place, piece in enumerate(pieces, start=1)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": asked.path,
        "raw_path": asked.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": asked.headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await asyncio.wait_for(app(scope, receive, send), SECONDS)
    start, *bodies = sent
    return start["status"], dict(start["headers"]), b"".join(message["body"] for message in bodies)


def has_timeout(asked: Asked) -> bool:
    return b'"timeout"' in asked.body or any(name in TIMEOUTS for name, _ in asked.headers)


def check(asked: Asked, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
    assert status in (ALLOWED | TOO_LATE if has_timeout(asked) else ALLOWED), (asked, status, body)
    assert max(map(len, headers.values())) < 1024, (asked, headers)
    if status == 200:
        return
    problem = json.loads(body)
    assert problem.keys() == {"error", "code", "request_id"}, (asked, body)
    assert problem["request_id"].encode() == headers[b"x-request-id"], asked
    assert 0 < len(problem["error"]) < LONGEST_SENTENCE, asked


def test_every_request_is_answered(app: Any, rounds: Rounds) -> None:
    async def all_of_them() -> Counter[int]:
        statuses: Counter[int] = Counter()
        for chance in rounds("requests in process", 4_000):
            asked = some_request(chance)
            status, headers, body = await answer_of(app, asked, chance)
            check(asked, status, headers, body)
            statuses[status] += 1
        return statuses

    statuses = asyncio.run(all_of_them())
    assert {200, 400, 404, 405, 413, 415} <= set(statuses)
    assert statuses[200] > statuses.total() / 20
