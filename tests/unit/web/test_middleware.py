"""The middlewares around small hand-made apps."""

import asyncio
import gc
import io
import json
import weakref
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.typing import EventDict

from service.caller import ClientLeft
from service.errors import Draining, MalformedRequest, OnnicornError, Overloaded
from service.knobs import Log
from service.telemetry import logs
from service.telemetry.record import CLIENT_LEFT, Record
from service.web import problems
from service.web.middleware import Accounting, Behind, LastResort
from service.web.records import record_of
from tests.unit.web.asgi import send_to

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"12345"}
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


class App:
    """Sends these messages and then raises this error; `seen` is the scope it was called with."""

    def __init__(self, *messages: Message, error: BaseException | None = None) -> None:
        self._messages = messages
        self._error = error
        self.seen: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen = scope
        for message in self._messages:
            await send(message)
        if self._error:
            raise self._error


def scope(method: str = "POST", **headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": "/", "headers": raw}


def account(app: App, **kwargs: Any) -> tuple[list[Message], Record]:
    """What is sent, and the record as it was at its end."""
    closed: list[Record] = []
    sent = send_to(Accounting(app, closed.append), scope(**kwargs))
    [record] = closed
    return sent, record


def test_an_answer_carries_the_id_of_its_request() -> None:
    sent, record = account(App(START, BODY), x_request_id="7", accept="*/*")
    assert sent == [START | {"headers": [(b"a", b"b"), (b"x-request-id", b"7")]}, BODY]
    assert (record.request_id, record.method, record.status, record.bytes_out) == ("7", "POST", 200, 5)
    assert (record.trace, record.route) == (None, "unmatched")


def test_a_request_is_in_flight_until_its_record_is_closed() -> None:
    seen: list[list[str]] = []
    in_flight: set[Record] = set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append([record.request_id for record in in_flight])
        raise LookupError

    def close(record: Record) -> None:
        seen.append([record.request_id for record in in_flight])

    with pytest.raises(LookupError):
        send_to(Accounting(app, close, in_flight), scope(x_request_id="7"))
    assert seen == [["7"], []]


def test_an_answer_carries_the_trace_of_its_request() -> None:
    sent, record = account(App(START), traceparent=TRACEPARENT)
    assert record.trace
    assert sent[0]["headers"][1:] == [
        (b"x-request-id", record.request_id.encode()),
        (b"traceparent", record.trace.parent.encode()),
    ]


def test_an_answer_without_headers_gets_the_id() -> None:
    start = {"type": "http.response.start", "status": 204}
    sent, record = account(App(start))
    assert sent == [start | {"headers": [(b"x-request-id", record.request_id.encode())]}]
    assert record.status == 204


def test_pieces_of_a_body_are_added_up() -> None:
    assert account(App(START, BODY, {"type": "http.response.body"}, BODY))[1].bytes_out == 10


@pytest.mark.parametrize(("method", "inner"), [("HEAD", "GET"), ("GET", "GET"), ("POST", "POST")])
def test_the_app_sees_a_get_for_a_head(method: str, inner: str) -> None:
    app = App(START)
    _, record = account(app, method=method)
    assert (app.seen["method"], record.method) == (inner, method)


def test_a_head_has_no_body_to_count() -> None:
    assert account(App(START, BODY), method="HEAD")[1].bytes_out == 0


def test_the_record_is_in_the_scope_and_learns_the_route() -> None:
    class Routed(App):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            record_of(scope).rows = 3
            scope["route"] = type("Route", (), {"path": "/v2/{name}"})
            await super().__call__(scope, receive, send)

    _, record = account(Routed(START))
    assert (record.rows, record.route) == (3, "/v2/{name}")


def test_an_app_that_fails_is_accounted_for() -> None:
    closed: list[Record] = []
    with pytest.raises(LookupError):
        send_to(Accounting(App(error=LookupError()), closed.append), scope())
    assert [record.status for record in closed] == [CLIENT_LEFT]


def test_a_record_is_closed_by_default(records: list[EventDict]) -> None:
    send_to(Accounting(App(START, BODY)), scope(x_request_id="7"))
    assert [(record["event"], record["request_id"], record["status"]) for record in records] == [("request", "7", 200)]


@pytest.mark.parametrize("middleware", [Accounting, LastResort, lambda app: Accounting(LastResort(app))])
def test_what_is_no_request_passes_through(middleware: Any) -> None:
    app = App({"type": "lifespan.startup.complete"})
    lifespan = {"type": "lifespan"}
    assert send_to(middleware(app), lifespan) == [{"type": "lifespan.startup.complete"}]
    assert app.seen is lifespan


def rescue(app: App) -> tuple[list[Message], Record]:
    closed: list[Record] = []
    sent = send_to(Accounting(LastResort(app), closed.append), scope(x_request_id="7"))
    return sent, closed[0]


def test_an_answer_passes_the_last_resort() -> None:
    sent, record = rescue(App(START, BODY))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert (record.status, record.code) == (200, "")


def test_an_error_that_nobody_expected_says_nothing_but_the_id() -> None:
    error = LookupError("a secret")
    (start, body), record = rescue(App(error=error))
    assert start["status"] == 500
    assert json.loads(body["body"]) == {
        "error": "the service failed; the log has the reason under this request id",
        "code": "internal_error",
        "request_id": "7",
    }
    assert (record.status, record.code, record.error and record.error.__cause__) == (500, "internal_error", error)


@pytest.mark.parametrize(
    ("error", "code"), [(LookupError(), "internal_error"), (asyncio.CancelledError(), "interrupted")]
)
def test_an_answer_that_breaks_off_is_not_answered_again(error: BaseException, code: str) -> None:
    """The record knows why: its status is that of an answer that came about."""
    closed: list[Record] = []
    with pytest.raises(type(error)):
        send_to(Accounting(LastResort(App(START, error=error)), closed.append), scope())
    assert [(record.status, record.code) for record in closed] == [(200, code)]


def test_a_request_that_the_service_gives_up_is_told_so() -> None:
    (start, body), record = rescue(App(error=asyncio.CancelledError()))
    assert (start["status"], json.loads(body["body"])) == (
        500,
        {
            "error": "the service ended before the request was finished",
            "code": "interrupted",
            "request_id": "7",
        },
    )
    assert (record.status, record.code) == (500, "interrupted")


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [(MalformedRequest("no"), 400, []), (Draining(), 503, [(b"retry-after", b"1")])],
)
def test_our_own_errors_are_answered_as_problems(
    error: OnnicornError, status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    (start, body), record = rescue(App(error=error))
    assert start["status"] == status
    assert set(headers) <= set(start["headers"])
    assert json.loads(body["body"]) == {"error": str(error), "code": error.code, "request_id": "7"}
    assert (record.status, record.code, record.error) == (status, error.code, error)


def test_a_client_that_has_left_is_not_answered() -> None:
    sent, record = rescue(App(error=ClientLeft("body")))
    assert (sent, record.status, record.code) == ([], CLIENT_LEFT, "")


@pytest.mark.parametrize("stage", ["body", "queue", "run"])
def test_the_record_learns_where_a_client_left(stage: str) -> None:
    assert rescue(App(error=ClientLeft(stage)))[1].left == stage


@pytest.mark.parametrize("status", [503, 429])
def test_overload_has_the_status_that_the_operator_wants(status: int) -> None:
    error = Overloaded("too much", "wait", 1.5)
    closed: list[Record] = []
    start, body = send_to(Accounting(LastResort(App(error=error), status), closed.append), scope(x_request_id="7"))
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (status, b"2")
    assert json.loads(body["body"]) == {
        "error": "too much; nothing was run, the request may be sent again",
        "code": "overloaded",
        "request_id": "7",
    }
    assert [record.error for record in closed] == [error]


def test_the_end_of_the_process_is_nobodys_mistake() -> None:
    with pytest.raises(KeyboardInterrupt):
        send_to(LastResort(App(error=KeyboardInterrupt())), scope())


def test_the_record_learns_why_a_request_failed() -> None:
    _, record = account(App(START))
    error = MalformedRequest("no")
    answer = problems.respond({"onnicorn.record": record}, error)
    assert (answer.status_code, record.code, record.error) == (400, "malformed_request", error)


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("/models/v2", "/v2"),
        ("/models/", "/"),
        ("/models/models/v2", "/models/v2"),
        ("/v2", "/v2"),
        ("/models", "/models"),
        ("/modelsv2", "/modelsv2"),
        ("/v2/models/cat", "/v2/models/cat"),
    ],
)
def test_a_prefix_that_the_ingress_has_left_is_taken_off(asked: str, seen: str) -> None:
    app = App(START)
    request = scope() | {"path": asked}
    send_to(Behind(app, "/models"), request)
    assert app.seen == request | {"path": seen}


def test_what_has_no_path_has_no_prefix() -> None:
    app = App(START)
    send_to(Behind(app, "/models"), {"type": "lifespan"})
    assert app.seen == {"type": "lifespan"}


class Held:
    """Something that a request holds while it is answered."""


@pytest.mark.parametrize("kind", [MalformedRequest, LookupError])
def test_a_request_that_fails_leaves_nothing_behind(kind: type[Exception], stream: io.StringIO) -> None:
    """The record has the error, whose traceback has the frames: without the collector, which comes by rarely."""
    held: list[weakref.ref[Held]] = []
    logs.configure(Log(format="json"), stream)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = Held()
        held.append(weakref.ref(body))
        raise kind("no")

    gc.collect()
    gc.disable()
    try:
        send_to(Accounting(LastResort(app)), scope())
        assert [body() for body in held] == [None]
    finally:
        gc.enable()
