"""A request's record becomes one log line and its metrics."""

from time import perf_counter
from typing import Any

import pytest
from structlog.typing import EventDict

from service.errors import DeadlineExceeded, Draining, MalformedRequest, ModelNotReady, OnnicornError, Overloaded
from service.telemetry.metrics import REGISTRY
from service.telemetry.record import Record
from service.telemetry.trace import Trace
from service.telemetry.zeros import REASONS
from service.telemetry.zeros import STAGES as LEFT

INFER = "/v2/models/{model_name}/infer"


def record(model: str = "", method: str = "POST", **fields: Any) -> Record:
    return Record("7", None, method, route=INFER, model=model, version=3 if model else 0, **fields)


def failed(error: OnnicornError, status: int, model: str = "") -> Record:
    return record(model, status=status, code=error.code, error=error)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"onnicorn_{name}", labels) or 0


def line(records: list[EventDict]) -> EventDict:
    """The only one, without its duration."""
    [record] = records
    assert record.pop("duration_ms") >= 0
    return record


REQUEST = {
    "event": "request",
    "log_level": "info",
    "method": "POST",
    "route": INFER,
    "request_id": "7",
    "bytes_in": 0,
    "bytes_out": 0,
}


def test_a_request_is_logged_with_what_is_known_of_it(records: list[EventDict]) -> None:
    record(status=200, bytes_in=5, bytes_out=7).close()
    assert line(records) == REQUEST | {"status": 200, "bytes_in": 5, "bytes_out": 7}


def test_the_name_of_who_calls_is_logged(records: list[EventDict]) -> None:
    record(status=200, client="checkout").close()
    assert line(records) == REQUEST | {"status": 200, "client": "checkout"}


def test_a_sentence_that_repeats_much_is_cut(records: list[EventDict]) -> None:
    failed(MalformedRequest("x" * 10_000), 400).close()
    assert line(records)["reason"] == "x" * 1000


def test_an_inference_is_logged_with_its_stages(records: list[EventDict]) -> None:
    record("cat", status=200, rows=0, decode=0.001, queue=0.0, run=0.0123456, encode=1.0).close()
    assert line(records) == REQUEST | {
        "status": 200,
        "model": "cat",
        "version": 3,
        "rows": 0,
        "decode_ms": 1.0,
        "queue_ms": 0.0,
        "run_ms": 12.345,
        "encode_ms": 1000.0,
    }


def test_stages_that_were_not_reached_are_left_out(records: list[EventDict]) -> None:
    error = MalformedRequest("no")
    failed(error, 400, "cat").close()
    assert line(records) == REQUEST | {
        "status": 400,
        "model": "cat",
        "version": 3,
        "code": "malformed_request",
        "reason": "no",
    }


def test_a_request_in_a_trace_names_it(records: list[EventDict]) -> None:
    traced = record(status=200)
    traced.trace = Trace("abc", "def", "01")
    traced.close()
    assert line(records) == REQUEST | {"status": 200, "trace_id": "abc", "span_id": "def"}


def test_our_own_failure_is_an_error_with_its_exception(records: list[EventDict]) -> None:
    error = ModelNotReady("cat", "it sleeps")
    failed(error, 503).close()
    assert line(records) == REQUEST | {
        "log_level": "error",
        "status": 503,
        "code": "model_not_ready",
        "reason": "model 'cat' is not ready: it sleeps",
        "exc_info": error,
    }


def test_a_request_that_was_never_answered_was_left_by_its_client(records: list[EventDict]) -> None:
    record().close()
    assert line(records) == REQUEST | {"status": 499}


@pytest.mark.parametrize(("fields", "has_started"), [({}, False), ({"status": 200}, True), ({"status": 500}, True)])
def test_a_request_has_an_answer_once_it_has_a_status(fields: dict[str, Any], has_started: bool) -> None:
    assert record(**fields).has_started is has_started


def test_the_duration_is_that_since_the_start(records: list[EventDict]) -> None:
    record(status=200, started=perf_counter() - 2).close()
    assert 2000 <= records[0]["duration_ms"] < 60_000


@pytest.mark.parametrize(
    ("method", "label"), [("GET", "GET"), ("OPTIONS", "OPTIONS"), ("BREW", "OTHER"), ("get", "OTHER"), ("", "OTHER")]
)
def test_a_request_is_counted_by_route_method_and_status(method: str, label: str) -> None:
    labels = {"route": INFER, "method": label, "status": "418"}
    counted = metric("http_requests_total", **labels)
    observed = metric("http_request_duration_seconds_count", route=INFER, outcome="other")
    record(method=method, status=418).close()
    assert metric("http_requests_total", **labels) == counted + 1
    assert metric("http_request_duration_seconds_count", route=INFER, outcome="other") == observed + 1


@pytest.mark.parametrize(
    ("closed", "outcome"),
    [
        (record("cat", status=200), "ok"),
        (record("cat"), "client_left"),
        (failed(MalformedRequest("no"), 400, "cat"), "malformed_request"),
    ],
)
def test_an_inference_is_counted_by_its_outcome(closed: Record, outcome: str) -> None:
    labels = {"model": "cat", "version": "3", "outcome": outcome}
    before = metric("inference_requests_total", **labels)
    closed.close()
    assert metric("inference_requests_total", **labels) == before + 1


STAGES = ("decode_seconds", "queue_seconds", "run_seconds", "encode_seconds")


def test_the_stages_that_were_reached_are_observed() -> None:
    def counts() -> list[tuple[float, float]]:
        names = [f"inference_{stage}" for stage in STAGES]
        labels = {"model": "observed", "version": "3"}
        return [(metric(f"{name}_count", **labels), metric(f"{name}_sum", **labels)) for name in names]

    record("observed", status=200, decode=0.5, queue=0.0, run=0.25, encode=2.0).close()
    assert counts() == [(1, 0.5), (1, 0), (1, 0.25), (1, 2)]
    record("observed", status=400, decode=0.5).close()
    assert counts() == [(2, 1), (1, 0), (1, 0.25), (1, 2)]


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "ok"), (304, "ok"), (400, "other"), (408, "other"), (499, "other"), (504, "other")]
)
def test_how_long_answers_take_is_kept_apart_from_how_long_others_do(status: int, outcome: str) -> None:
    """A client that leaves after a second, or a timeout that passes, is no slow answer."""

    def counts() -> dict[str, float]:
        name = "http_request_duration_seconds_count"
        return {each: metric(name, route=INFER, outcome=each) for each in ("ok", "other")}

    before = counts()
    record(status=status).close()
    assert counts() == before | {outcome: before[outcome] + 1}


def test_a_request_of_no_known_model_is_no_inference() -> None:
    def series() -> set[str]:
        return {str(sample) for family in REGISTRY.collect() if "inference" in family.name for sample in family.samples}

    before = series()
    record(status=404).close()
    assert series() == before


@pytest.mark.parametrize("reason", REASONS)
def test_a_refusal_is_counted_by_its_reason(reason: str) -> None:
    before = metric("refused_total", reason=reason)
    failed(Overloaded("no", reason, 1), 503, "cat").close()
    failed(MalformedRequest("no"), 400, "cat").close()
    assert metric("refused_total", reason=reason) == before + 1


@pytest.mark.parametrize("stage", LEFT)
def test_a_client_that_left_is_counted_and_logged_by_its_stage(stage: str, records: list[EventDict]) -> None:
    before = metric("cancelled_total", stage=stage)
    record("cat", left=stage).close()
    assert metric("cancelled_total", stage=stage) == before + 1
    assert line(records) == REQUEST | {"status": 499, "model": "cat", "version": 3, "left": stage}


@pytest.mark.parametrize("error", [Overloaded("no", "wait", 1), DeadlineExceeded("queue", 1), Draining()])
def test_what_is_nobodys_mistake_is_a_warning_without_a_traceback(
    error: OnnicornError, records: list[EventDict]
) -> None:
    failed(error, 503).close()
    said = {"log_level": "warning", "status": 503, "code": error.code, "reason": str(error)}
    assert line(records) == REQUEST | said


def test_the_model_that_was_asked_for_is_logged_beside_the_smaller_one_that_ran(records: list[EventDict]) -> None:
    record("kitten", status=200, fallback_for="cat").close()
    assert line(records) == REQUEST | {"status": 200, "model": "kitten", "version": 3, "fallback_for": "cat"}


@pytest.mark.parametrize(("answers", "timed"), [(None, 1), (0, 0), (7, 0)])
def test_how_long_a_stream_takes_is_its_callers_choice_and_no_duration(answers: int | None, timed: int) -> None:
    """It would count as a slow answer of the same route."""

    def counted() -> list[float]:
        return [
            metric("http_request_duration_seconds_count", route=INFER, outcome="ok"),
            metric("http_requests_total", route=INFER, method="POST", status="200"),
        ]

    before = counted()
    record("cat", status=200, answers=answers).close()
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [timed, 1]


def test_a_closed_record_knows_its_error_no_more() -> None:
    """The error's frames know the record, and the request's body."""
    closed = failed(MalformedRequest("no"), 400)
    closed.close()
    assert closed.error is None
