"""Streams over the whole app: lines in and out, rows as events; errors in their places, and those who wait or leave."""

import asyncio
import gzip
import json
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.testclient import TestClient
from starlette.types import Message
from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.caller import EXTENSION, Caller
from service.errors import Draining, OnnicornError
from service.settings import Settings
from service.telemetry import record
from service.telemetry.metrics import REGISTRY
from service.web import scoring
from service.web.app import create_app
from tests import tiny
from tests.oip import Json, assert_problem, tensor
from tests.unit.loop import SECONDS, turns, until
from tests.web.conftest import SMALL_BODY, Serve

DOUBLE = "/v2/models/double/infer_stream"
LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    """What is logged of requests and of what fails in them, whatever logs were configured before."""
    for module in (record, scoring):
        monkeypatch.setattr(module, "log", structlog.get_logger())
    with capture_logs() as records:
        yield records


def asked(*numbers: float, **more: Any) -> Json:
    """Of the model that doubles; four numbers are a row."""
    return {"inputs": [tensor("x", "FP32", [len(numbers) // 4, 4], numbers)], **more}


def doubled(*numbers: float, identity: str = "mine", model: str = "double") -> Json:
    y = tensor("y", "FP32", [len(numbers) // 4, 4], [2 * number for number in numbers])
    return {"model_name": model, "model_version": "1", "id": identity, "outputs": [y]}


def text_of(*documents: Json | str) -> bytes:
    lines = [document if isinstance(document, str) else json.dumps(document) for document in documents]
    return "".join(f"{line}\n" for line in lines).encode()


def score(client: TestClient, content: bytes | Iterator[bytes], path: str = DOUBLE, **headers: str) -> list[Any]:
    """The lines of the answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(path, content=content, headers=LINES | {"X-Request-ID": "mine"} | named)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson"), answer.content
    assert answer.content.endswith(b"\n") or not answer.content
    return [json.loads(line) for line in answer.content.splitlines()]


def codes(lines: list[Json]) -> list[tuple[str, int] | str]:
    """Of each line: the id of an answer, or what went wrong and where."""
    return [(line["code"], line["line"]) if "code" in line else line["id"] for line in lines]


def test_each_line_is_answered_by_a_line_in_order(client: TestClient) -> None:
    numbers = [float(number) for number in range(400)]
    requests = [asked(*numbers[start : start + 4], id=str(start)) for start in range(0, 400, 4)]
    expected = [doubled(*numbers[start : start + 4], identity=str(start)) for start in range(0, 400, 4)]
    assert score(client, text_of(*requests)) == expected


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_may_come_in_any_pieces(client: TestClient, size: int) -> None:
    text = text_of(asked(1, 2, 3, 4, id="ä€🦄"), "", asked(5, 6, 7, 8))[:-1]
    pieces = (text[start : start + size] for start in range(0, len(text), size))
    assert score(client, pieces) == [doubled(1, 2, 3, 4, identity="ä€🦄"), doubled(5, 6, 7, 8)]


def test_a_line_may_have_several_rows_or_none(client: TestClient) -> None:
    lines = score(client, text_of(asked(), asked(*range(12)), asked(*range(4)), asked(*range(400))))
    assert lines == [doubled(), doubled(*range(12)), doubled(*range(4)), doubled(*range(400))]


def test_lines_of_different_shapes_and_wishes_are_answered_each_as_it_asked(client: TestClient) -> None:
    """They cannot all run together."""
    requests = [
        {
            "inputs": [tensor("x", "FP32", [1, width], [1] * width)],
            "outputs": [{"name": name}],
            "parameters": {"priority": 1 + (width > 2), "timeout": 60_000_000 if width % 2 else 0},
        }
        for width, name in [(1, "log"), (2, "log"), (1, "reciprocal"), (3, "log"), (2, "log")]
    ]
    lines = score(client, text_of(*requests), "/v2/models/reciprocal/infer_stream")
    assert [(line["outputs"][0]["name"], line["outputs"][0]["shape"]) for line in lines] == [
        ("log", [1, 1]),
        ("log", [1, 2]),
        ("reciprocal", [1, 1]),
        ("log", [1, 3]),
        ("log", [1, 2]),
    ]


@pytest.mark.parametrize("model", ["fixed", "scalar"])
def test_a_model_without_a_batch_axis_is_asked_line_by_line(client: TestClient, model: str) -> None:
    shape, data, sign = ([1, 3], [1, 2, 3], -1) if model == "fixed" else ([], [4], 2)
    request = {"inputs": [tensor("x", "FP32", shape, data)]}
    lines = score(client, text_of(request, request), f"/v2/models/{model}/infer_stream")
    assert [line["outputs"][0]["data"] for line in lines] == [[sign * number for number in data]] * 2


def test_lines_and_rows_may_ask_for_classes(client: TestClient) -> None:
    wanted = [{"name": "y", "parameters": {"classification": 1}}]
    best = tensor("y", "BYTES", [1, 1], ["8.0:3"])
    [line] = score(client, text_of(asked(1, 2, 3, 4, outputs=wanted)))
    [(_, row)] = events(client, asked(1, 2, 3, 4, outputs=wanted))
    assert [line["outputs"], row["outputs"]] == [[best], [best]]


def test_what_is_wrong_with_a_line_is_said_in_its_place(client: TestClient) -> None:
    lines = score(
        client,
        text_of(
            asked(1, 2, 3, 4),
            "",
            "no JSON",
            "[]",
            {"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])]},
            asked(1, 2, 3, 4, outputs=[{"name": "y", "parameters": {"binary_data": True}}]),
            asked(1, 2, 3, 4, id="last"),
        ),
    )
    assert codes(lines) == [
        "mine",
        ("malformed_request", 3),
        ("malformed_request", 4),
        ("signature_mismatch", 5),
        ("malformed_request", 6),
        "last",
    ]
    assert lines[1]["error"].startswith("the line is not valid JSON: ")
    assert lines[2]["error"].startswith("the line: expected a JSON object")
    assert lines[4] == {
        "error": "output 'y': a stream has no binary tensors; ask for it in JSON",
        "code": "malformed_request",
        "line": 6,
    }


def test_only_the_line_that_fails_in_its_run_fails(client: TestClient, records: list[EventDict]) -> None:
    """Others ran with it, and run again."""
    requests = [{"inputs": [tensor("index", "INT64", [1], [index])]} for index in (0, 1, 7, 2, 8)]
    lines = score(client, text_of(*requests), "/v2/models/failing/infer_stream")
    assert codes(lines) == ["mine", "mine", ("inference_failed", 3), "mine", ("inference_failed", 5)]
    told = [line for line in records if line["event"] == "answer_failed"]
    assert [(line["number"], line["request_id"], line["code"]) for line in told] == [(3, "mine", "inference_failed")]


def test_a_line_that_is_too_long_is_passed_over(small_client: TestClient) -> None:
    def words(length: int) -> Json:
        return {"inputs": [tensor("x", "BYTES", [1, 1], ["x" * length])]}

    path = "/v2/models/identity_bytes/infer_stream"
    lines = score(small_client, text_of(words(3), words(SMALL_BODY), words(4)) * 3, path)
    assert codes(lines) == [("request_too_large", line) if line in (2, 5, 8) else "mine" for line in range(1, 10)]


def test_a_stream_may_be_larger_than_any_body(small_client: TestClient) -> None:
    request = text_of({"inputs": [tensor("x", "BYTES", [1, 1], ["x" * 1000])]})
    lines = score(small_client, request * 100, "/v2/models/identity_bytes/infer_stream")
    assert codes(lines) == ["mine"] * 100


def test_a_long_line_is_read_and_answered_beside_the_event_loop(client: TestClient) -> None:
    numbers = [float(number % 1000) for number in range(100_000)]
    lines = score(client, text_of(asked(1, 2, 3, 4), asked(*numbers), asked(5, 6, 7, 8)))
    assert lines == [doubled(1, 2, 3, 4), doubled(*numbers), doubled(5, 6, 7, 8)]


def test_an_answer_that_is_too_large_is_its_lines_failure(serve: Serve, tmp_path: Path) -> None:
    with serve(tiny.repository(tmp_path, double=tiny.double()), limits={"answer_bytes": 1024}) as client:
        lines = score(client, text_of(asked(1, 2, 3, 4), asked(*range(1000)), asked(5, 6, 7, 8)))
    assert codes(lines) == ["mine", ("answer_too_large", 2), "mine"]


@pytest.mark.parametrize(
    "media_type", ["application/x-ndjson", "application/jsonl", "Application/NDJSON; charset=utf-8"]
)
def test_lines_have_several_names(client: TestClient, media_type: str) -> None:
    assert score(client, text_of(asked(1, 2, 3, 4)), Content_Type=media_type) == [doubled(1, 2, 3, 4)]


@pytest.mark.parametrize("size", [10, 100_000])
def test_lines_may_be_compressed_both_ways(client: TestClient, size: int) -> None:
    text = text_of(asked(1, 2, 3, 4), "", asked(5, 6, 7, 8)) * 50
    packed = gzip.compress(text)
    pieces = (packed[start : start + size] for start in range(0, len(packed), size))
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip, deflate"}
    answer = client.post(DOUBLE, content=pieces, headers=LINES | headers | {"X-Request-ID": "mine"})
    assert answer.headers["content-encoding"] == "gzip"  # and the client has read it so
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert lines == [doubled(1, 2, 3, 4), doubled(5, 6, 7, 8)] * 50


@pytest.mark.parametrize("cut", [-20, 30])
def test_a_compressed_body_that_breaks_off_ends_the_answer_with_a_sentence(client: TestClient, cut: int) -> None:
    packed = gzip.compress(text_of(asked(1, 2, 3, 4)) * 3)
    last = score(client, packed[:cut], Content_Encoding="gzip")[-1]
    assert last["error"] == "Content-Encoding: the gzip body ends too early"


@pytest.mark.parametrize(
    ("headers", "status", "code", "words"),
    [
        ({"Content-Encoding": "br"}, 415, "unsupported_media", ("gzip or deflate",)),
        ({"Content-Encoding": "gzip, gzip"}, 415, "unsupported_media", ("expected one coding of lines, got 2",)),
        ({"X-Request-Timeout-Ms": "soon"}, 400, "malformed_request", ("X-Request-Timeout-Ms",)),
    ],
)
def test_what_is_wrong_with_all_of_it_is_an_answer_of_its_own(
    client: TestClient, headers: dict[str, str], status: int, code: str, words: tuple[str, ...]
) -> None:
    assert_problem(client.post(DOUBLE, content=text_of(asked()), headers=LINES | headers), status, code, *words)


@pytest.mark.parametrize("body_type", ["application/json", "application/x-ndjson"])
def test_a_stream_is_of_a_model_that_is_there(client: TestClient, body_type: str) -> None:
    headers = {"Content-Type": body_type}
    answer = client.post("/v2/models/nobody/infer_stream", content=b"{}", headers=headers)
    assert_problem(answer, 404, "model_not_found", "nobody")
    answer = client.post("/v2/models/double/versions/7/infer_stream", content=b"{}", headers=headers)
    assert_problem(answer, 404, "version_not_found", "7")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_stream_is_posted(client: TestClient, method: str) -> None:
    answer = client.request(method, DOUBLE)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def events(client: TestClient, document: Json, path: str = DOUBLE, **headers: str) -> list[tuple[str, Json]]:
    """The type or id of each, and its data."""
    answer = client.post(path, json=document, headers={"X-Request-ID": "mine"} | headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream"), answer.content
    assert answer.headers["cache-control"] == "no-cache"
    *blocks, rest = answer.text.split("\n\n")
    assert rest == ""
    found = []
    for block in blocks:
        first, data = block.split("\n")
        found.append((first, json.loads(data.removeprefix("data: "))))
    return found


@pytest.mark.parametrize("rows", [1, 2, 31, 100])
def test_each_row_of_a_request_is_an_event(client: TestClient, rows: int) -> None:
    numbers = [float(number) for number in range(4 * rows)]
    assert events(client, asked(*numbers)) == [
        (f"id: {row}", doubled(*numbers[4 * row : 4 * row + 4])) for row in range(rows)
    ]


def test_no_rows_are_no_events(client: TestClient) -> None:
    assert events(client, asked()) == []


def test_a_model_without_a_batch_axis_has_one_event(client: TestClient) -> None:
    document = {"inputs": [tensor("x", "FP32", [1, 3], [1, 2, 3])], "id": "own"}
    [(identity, answer)] = events(client, document, "/v2/models/fixed/versions/1/infer_stream")
    assert (identity, answer["id"], answer["outputs"][0]["data"]) == ("id: 0", "own", [-1, -2, -3])


def test_events_can_be_asked_for_with_binary_tensors(client: TestClient) -> None:
    head = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}]}
    )
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = client.post(DOUBLE, content=head.encode() + bytes(16), headers=headers)
    assert b'"data":[0.0,0.0,0.0,0.0]' in answer.content


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ({}, 400, "malformed_request"),
        ({"inputs": []}, 400, "signature_mismatch"),
        (asked(1, 2, 3, 4, parameters={"binary_data_output": True}), 400, "malformed_request"),
    ],
)
def test_a_request_that_cannot_be_answered_has_no_events(
    client: TestClient, document: Json, status: int, code: str
) -> None:
    assert_problem(client.post(DOUBLE, json=document), status, code)


def test_a_row_that_fails_first_fails_the_request(client: TestClient) -> None:
    document = {"inputs": [tensor("index", "INT64", [2], [7, 0])]}
    answer = client.post("/v2/models/failing/infer_stream", json=document)
    assert_problem(answer, 500, "inference_failed")


def test_a_row_that_fails_behind_others_is_the_last_event(client: TestClient) -> None:
    document = {"inputs": [tensor("index", "INT64", [100], [0] * 99 + [7])]}
    *good, (kind, last) = events(client, document, "/v2/models/failing/infer_stream")
    assert [identity for identity, _ in good] == [f"id: {row}" for row in range(99)]
    assert (kind, last["code"], last["request_id"]) == ("event: error", "inference_failed", "mine")


def test_rows_that_ran_before_the_one_that_fails_are_sent(client: TestClient) -> None:
    """They were in the same portion."""
    document = {"inputs": [tensor("index", "INT64", [3], [0, 1, 7])]}
    found = events(client, document, "/v2/models/failing/infer_stream")
    assert [kind for kind, _ in found] == ["id: 0", "id: 1", "event: error"]


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"onnicorn_{name}", labels) or 0


def test_a_stream_is_one_request_in_the_log_and_each_group_one_of_the_model(
    client: TestClient, records: list[EventDict]
) -> None:
    def counted() -> list[float]:
        labels = {"model": "double", "version": "1"}
        return [
            metric("http_requests_total", route="/v2/models/{model_name}/infer_stream", method="POST", status="200"),
            metric("inference_requests_total", **labels, outcome="ok"),
            metric("inference_requests_total", **labels, outcome="malformed_request"),
            metric("inference_run_seconds_count", **labels),
            metric("inference_batch_rows_count", **labels),
            metric("inference_batch_rows_sum", **labels),
        ]

    score(client, text_of(asked(*range(4))))  # from then on it is known how many go together
    records.clear()
    before = counted()
    text = text_of(asked(*range(4)), "nonsense", asked(*range(8)))
    score(client, text)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 1, 1, 1, 1, 3]
    [line] = [line for line in records if line["event"] == "request"]
    told = {name: line[name] for name in ("status", "rows", "answers", "failed", "bytes_in", "model")}
    assert told == {"status": 200, "rows": 3, "answers": 3, "failed": 1, "bytes_in": len(text), "model": "double"}
    assert [name for name in ("decode_ms", "queue_ms", "run_ms", "encode_ms") if name not in line] == []


class Talk:
    """One request to an app without a server between: its body is given piece by piece, its answer is read alike."""

    def __init__(self, app: Any, path: str, **headers: str) -> None:
        self.caller = Caller()
        self.sent: list[Message] = []
        self._body: asyncio.Queue[Message | OnnicornError] = asyncio.Queue()
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "headers": raw, "query_string": b""}
        self._task = asyncio.create_task(
            app(scope | {"extensions": {EXTENSION: self.caller}}, self._receive, self._send)
        )

    def say(self, *documents: Json | str, rest: bytes = b"", more: bool = True) -> None:
        self._body.put_nowait({"type": "http.request", "body": text_of(*documents) + rest, "more_body": more})

    def fail(self, error: OnnicornError) -> None:
        """What the server says of the rest of the body."""
        self._body.put_nowait(error)

    async def end(self) -> None:
        await self._task

    @property
    def lines(self) -> list[Json]:
        content = b"".join(message["body"] for message in self.sent[1:])
        return [json.loads(line) for line in content.splitlines()]

    def has(self, lines: float) -> bool:
        return len(self.lines) == lines

    async def _receive(self) -> Message:
        message = await self._body.get()
        if isinstance(message, OnnicornError):
            raise message
        return message

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


def talk(folder: Path, cache_dir: Path, scenario: Callable[[Any], Coroutine[Any, Any, None]], **groups: Any) -> None:
    """With an app that has two models, one that doubles, and one that counts for as long as one likes."""
    models = tiny.repository(folder / "models", double=tiny.double(), loop=tiny.loop())
    app = create_app(Settings(repository={"path": models}, cache={"dir": cache_dir}, **groups))

    async def run() -> None:
        async with asyncio.timeout(SECONDS), app.router.lifespan_context(app):
            await scenario(app)

    asyncio.run(run())


NDJSON = {"content_type": "application/x-ndjson", "x_request_id": "mine"}
LOOP = "/v2/models/loop/infer_stream"
ENDLESS = 10**12


def trips(count: int, **parameters: Any) -> Json:
    return {"inputs": [tensor("trips", "INT64", [1], [count])], "parameters": parameters}


def test_a_line_is_answered_before_the_next_one_comes(tmp_path: Path, cache_dir: Path) -> None:
    async def scenario(app: Any) -> None:
        stream = Talk(app, DOUBLE, **NDJSON)
        for number in (1.0, 2.0, 3.0):
            stream.say(asked(*[number] * 4))
            await until(partial(stream.has, number))
        stream.say(more=False)
        await stream.end()
        assert stream.lines == [doubled(*[number] * 4) for number in (1.0, 2.0, 3.0)]

    talk(tmp_path, cache_dir, scenario)


def test_what_was_read_is_answered_when_the_service_ends(tmp_path: Path, cache_dir: Path) -> None:
    async def scenario(app: Any) -> None:
        stream = Talk(app, DOUBLE, **NDJSON)
        stream.say(asked(1, 1, 1, 1), asked(2, 2, 2, 2), rest=b'{"half')
        stream.fail(Draining())
        await stream.end()
        *answers, last = stream.lines
        assert answers == [doubled(1, 1, 1, 1), doubled(2, 2, 2, 2)]
        assert last == {"error": str(Draining("lines from 3 on")), "code": "draining", "line": 3}

    talk(tmp_path, cache_dir, scenario)


def test_a_stream_of_which_nothing_has_come_ends_with_the_service(tmp_path: Path, cache_dir: Path) -> None:
    """The server tells those that say that they are streams."""

    async def scenario(app: Any) -> None:
        stream = Talk(app, DOUBLE, **NDJSON)
        await until(lambda: stream.caller.is_stream)
        stream.fail(Draining())
        await stream.end()
        [start, body] = stream.sent
        assert (start["status"], json.loads(body["body"])["code"]) == (503, "draining")

    talk(tmp_path, cache_dir, scenario)


def test_events_end_with_the_service_behind_what_was_begun(tmp_path: Path, cache_dir: Path) -> None:
    """A request that has only just come is not one that nothing was run of."""

    async def scenario(app: Any) -> None:
        stream = Talk(app, DOUBLE, content_type="application/json", x_request_id="mine")
        stream.caller.is_dismissed = True
        stream.say(asked(*range(400)), more=False)
        await stream.end()
        *rows, last, rest = b"".join(message["body"] for message in stream.sent[1:]).split(b"\n\n")
        kind, data = last.split(b"\n")
        assert (len(rows), kind, rest) == (1, b"event: error", b"")
        error = str(Draining("rows from 1 on"))
        assert json.loads(data.removeprefix(b"data: ")) == {"error": error, "code": "draining", "request_id": "mine"}

    talk(tmp_path, cache_dir, scenario)


def test_lines_that_have_all_come_are_not_all_run_when_the_service_ends(tmp_path: Path, cache_dir: Path) -> None:
    async def scenario(app: Any) -> None:
        stream = Talk(app, LOOP, **NDJSON)
        stream.say(*[trips(number) for number in range(100)], more=False)
        await until(lambda: stream.lines)
        stream.caller.is_dismissed = True
        await stream.end()
        *answers, last = stream.lines
        assert [answer["outputs"][0]["data"] for answer in answers] == [[number] for number in range(len(answers))]
        number = len(answers) + 1
        assert number < 100
        assert last == {"error": str(Draining(f"lines from {number} on")), "code": "draining", "line": number}

    talk(tmp_path, cache_dir, scenario)


@pytest.mark.parametrize("where", ["body", "run"])
def test_who_leaves_takes_the_run_along(tmp_path: Path, cache_dir: Path, where: str, records: list[EventDict]) -> None:
    async def scenario(app: Any) -> None:
        stream = Talk(app, LOOP, **NDJSON)
        stream.say(trips(3), trips(ENDLESS) if where == "run" else "nonsense")
        await until(lambda: stream.lines)
        if where == "run":
            await until(lambda: metric("inference_pending", model="loop") == 1)
        stream.caller.leave()
        await stream.end()
        await until(lambda: metric("inference_pending", model="loop") == 0)

    talk(tmp_path, cache_dir, scenario)
    assert [line["left"] for line in records if line["event"] == "request"] == ["run"]


def test_the_timeout_is_that_of_each_group(tmp_path: Path, cache_dir: Path) -> None:
    async def scenario(app: Any) -> None:
        stream = Talk(app, LOOP, **NDJSON, x_request_timeout_ms="300")
        stream.say(trips(3))
        await until(lambda: len(stream.lines) == 1)
        stream.say(trips(ENDLESS))
        await until(lambda: len(stream.lines) == 2)
        stream.say(trips(5), trips(ENDLESS, timeout=1000), trips(6), more=False)
        await stream.end()
        assert codes(stream.lines) == ["mine", ("deadline_exceeded", 2), "mine", ("deadline_exceeded", 4), "mine"]

    talk(tmp_path, cache_dir, scenario)


def test_a_busy_model_is_waited_for(tmp_path: Path, cache_dir: Path) -> None:
    """Not even one request may wait, so whoever comes by a single one is refused."""

    async def scenario(app: Any) -> None:
        stream = Talk(app, LOOP, **NDJSON)
        stream.say(trips(1))
        await until(lambda: len(stream.lines) == 1)
        other = Talk(app, "/v2/models/loop/infer", content_type="application/json")
        other.say(trips(ENDLESS), more=False)
        await until(lambda: metric("inference_pending", model="loop") == 1)
        stream.say(trips(2), trips(3), more=False)
        await turns(20)
        assert len(stream.lines) == 1
        other.caller.leave()
        await stream.end()
        assert [line["outputs"][0]["data"] for line in stream.lines] == [[1], [2], [3]]

    talk(tmp_path, cache_dir, scenario, admission={"max_waiting": 0})


def test_nothing_is_read_while_there_is_enough_to_do(tmp_path: Path, cache_dir: Path) -> None:
    async def scenario(app: Any) -> None:
        stream = Talk(app, LOOP, **NDJSON)
        for _ in range(9):
            stream.say(trips(ENDLESS))
        await until(lambda: metric("inference_pending", model="loop") == 2)
        await turns(50)
        assert (metric("inference_pending", model="loop"), stream._body.qsize()) == (2, 7)
        stream.caller.leave()
        await stream.end()

    talk(tmp_path, cache_dir, scenario)


PREDICT = "/v1/models/double:predict"


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/double/versions/1:predict"])
def test_each_line_is_a_row_and_is_answered_by_its_prediction(client: TestClient, path: str) -> None:
    rows = [[1.0, 2.0, 3.0, float(number)] for number in range(100)]
    text = "\n".join(json.dumps(row if row[3] % 2 else {"x": row}) for row in rows).encode()
    assert score(client, text, path) == [[2 * number for number in row] for row in rows]


def test_rows_of_several_inputs_are_objects_and_so_are_predictions(client: TestClient) -> None:
    lines = score(client, text_of({"a": [5] * 16, "b": [3] * 16}), "/v1/models/add_sub:predict")
    assert lines == [{"sum": [8] * 16, "difference": [2] * 16}]


@pytest.mark.parametrize(("model", "given", "told"), [("fixed", [[1, 2, 3]], [[-1, -2, -3]]), ("scalar", 4, 8)])
def test_of_a_model_without_rows_a_line_has_all_inputs(client: TestClient, model: str, given: Any, told: Any) -> None:
    assert score(client, text_of(json.dumps(given)) * 2, f"/v1/models/{model}:predict") == [told, told]


def test_what_is_wrong_with_a_row_is_said_of_its_line(client: TestClient) -> None:
    text = text_of("[1, 2, 3, 4]", '[1, "x", 3, 4]', "[1, 2]", "1,2", '{"z": 1}', "[1, 2, 3, 4]], [[1, 2, 3, 4]", "[")
    lines = score(client, text, PREDICT)
    assert [line if type(line) is list else (line["code"], line["line"]) for line in lines] == [
        [2, 4, 6, 8],
        *(("signature_mismatch" if line == 3 else "malformed_request", line) for line in range(2, 8)),
    ]
    assert lines[6]["error"].startswith("the line is not valid JSON: ")
    assert lines[1]["error"] == 'line[1]: expected a number, got "x"'


TRANSFORM = """
import numpy as np
from pydantic import BaseModel
from service.engine.transform import BadInstance

class Sums:
    class Instance(BaseModel):
        left: float
        right: float = 0

    Prediction = float

    def before(self, instances):
        for index, each in enumerate(instances):
            if each.left < 0:
                raise BadInstance("too far left", index)
        return {"x": np.array([[each.left, each.right, 0, 0] for each in instances], np.float32)}

    def after(self, outputs):
        return outputs["y"].sum(axis=1)
"""


def test_a_line_is_what_a_transform_takes(serve: Serve, tmp_path: Path) -> None:
    models = tiny.repository(tmp_path / "models", sums=tiny.double())
    (models / "sums" / "transform.py").write_text(TRANSFORM)
    good, bad, wrong = {"left": 1, "right": 2}, {"left": -1}, {"left": "x"}
    with serve(models) as client:
        lines = score(client, text_of(good, wrong, good, bad, good), "/v1/models/sums:predict")
    assert lines == [
        6.0,
        {"error": 'line.left: expected a number, got "x"', "code": "malformed_request", "line": 2},
        6.0,
        {"error": "line: too far left", "code": "malformed_request", "line": 4},
        6.0,
    ]


def test_predictions_may_be_single_numbers(serve: Serve) -> None:
    """Of the bundled model, whose labels are; the codec knows numpy's arrays of integers, but not each of these."""
    with serve(Path("models")) as client:
        [answer, _] = score(client, text_of(json.dumps([0] * 64)) * 2, "/v1/models/digits:predict")
    assert (type(answer["label"]), len(answer["probabilities"])) == (int, 10)
