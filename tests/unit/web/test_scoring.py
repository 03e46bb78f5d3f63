"""What runs together, what fails alone, and what is counted; models are stood in for by hand."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.typing import EventDict

from service.deadline import NEVER, Deadline
from service.errors import (
    AnswerTooLarge,
    DeadlineExceeded,
    InferenceFailed,
    MalformedRequest,
    ModelNotReady,
    OnnicornError,
    SignatureMismatch,
    TransformFailed,
)
from service.telemetry.metrics import REGISTRY, STATISTICS
from service.telemetry.record import Record
from service.web.scoring import Item, Job, Ran, Scoring, grouped
from service.web.stream import Window


def item(asked: Any, rows: int = 1, key: Any = None, **more: Any) -> Item:
    return Item(asked, rows, key, **more)


@pytest.mark.parametrize(
    ("items", "groups"),
    [
        ([], []),
        ([item(0), item(1), item(2)], [[0, 1, 2]]),
        ([item(number) for number in range(9)], [[0, 1, 2, 3], [4, 5, 6, 7], [8]]),
        ([item(0, 3), item(1, 2), item(2, 1), item(3, 1)], [[0], [1, 2, 3]]),
        ([item(0), item(1, 100), item(2)], [[0], [1], [2]]),
        ([item(0, 0), item(1, 4), item(2, 0)], [[0, 1, 2]]),
        ([item(0, key="a"), item(1, key="b"), item(2, key="a")], [[0, 2], [1]]),
        ([item(0, timeout=1), item(1), item(2, timeout=1), item(3, priority=1)], [[0, 2], [1], [3]]),
    ],
)
def test_items_run_together_that_may_as_far_as_they_fit(items: list[Item], groups: list[list[int]]) -> None:
    jobs = [Job(number, each) for number, each in enumerate(items)]
    assert [[job.number for job in group] for group in grouped(jobs, 4)] == groups


class Doubling:
    """Answers an item that asks with a number by twice the number; it remembers what ran together.

    What an item brings that is no number is raised, by the whole group.
    """

    def __init__(self) -> None:
        self.ran: list[list[Any]] = []
        self.size = 0
        self.deadlines: list[Deadline] = []

    def read(self, text: bytes) -> Item:
        return item(int(text))

    def read_all(self, texts: Sequence[bytes]) -> list[Item | OnnicornError]:
        return [self.read(text) for text in texts]

    async def run(self, items: Sequence[Item], deadline: Deadline) -> Ran:
        self.ran.append([each.asked for each in items])
        self.deadlines.append(deadline)
        for each in items:
            if not isinstance(each.asked, int):
                raise each.asked
        return Ran([2 * each.asked for each in items], 0.25, 0.5, self.size)

    def is_long(self, result: Any) -> bool:
        return bool(result > 100)

    def write(self, item: Item, result: Any) -> bytes:
        if result > 1000:
            raise AnswerTooLarge("too much")
        return str(result).encode()


FAILED = InferenceFailed("scored", 1)


class Bench:
    """One stream of a model, four rows of which go together."""

    def __init__(self) -> None:
        self.form = Doubling()
        self.record = Record("mine", None, "POST")
        lane: Any = SimpleNamespace(model=SimpleNamespace(name="scored", version=1))
        window = Window(2, 4)
        window.note(1, 1)
        self.scoring = Scoring(lane, self.form, self.record, window)

    def score(self, *asked: Any, deadline: Deadline = NEVER) -> list[str]:
        """What is written for each, or the code of why there is nothing."""
        items = {
            number: each if isinstance(each, MalformedRequest) else item(each) for number, each in enumerate(asked)
        }
        return asyncio.run(self._written(items, deadline))

    async def _written(self, items: dict[int, Any], deadline: Deadline) -> list[str]:
        scored = await self.scoring.score(items, deadline)
        assert [each.number for each in scored] == list(items)
        async with aclosing(self.scoring.texts(scored)) as texts:
            return [each.failure.code if each.failure else text.decode() async for each, text in texts]


def test_answers_are_in_the_order_of_what_was_asked() -> None:
    bench = Bench()
    assert bench.score(1, 2, 3, 4, 5) == ["2", "4", "6", "8", "10"]
    assert bench.form.ran == [[1, 2, 3, 4], [5]]


def test_fewer_go_together_once_their_results_have_been_large() -> None:
    bench = Bench()
    bench.form.size = 8 << 20
    assert bench.score(1, 2) == ["2", "4"]
    bench.score(3, 4, 5, 6)
    assert bench.form.ran == [[1, 2], [3, 4], [5, 6]]


def test_what_could_not_be_read_fails_in_its_place() -> None:
    bench = Bench()
    assert bench.score(1, MalformedRequest("?"), 3) == ["2", "malformed_request", "6"]
    assert (bench.form.ran, bench.record.failed) == ([[1, 3]], 1)


@pytest.mark.parametrize(
    "failure", [FAILED, ValueError("6 rows went in, 5 came out"), SignatureMismatch("instances[2]")]
)
def test_a_group_that_fails_is_taken_apart(failure: Exception) -> None:
    bench = Bench()
    if isinstance(failure, ValueError):
        bench.form.run = breaking_together(bench.form, failure)  # type: ignore[method-assign]
        assert bench.score(1, 2, 3) == ["2", "4", "6"]
    else:
        assert bench.score(1, failure, 3) == ["2", failure.code, "6"]  # type: ignore[attr-defined]
        assert bench.form.ran == [[1, failure, 3], [1], [failure], [3]]


def breaking_together(form: Doubling, failure: Exception) -> Any:
    """Each runs well alone, and nobody can tell whose rows are whose where there are several."""
    run = form.run

    async def broken(items: Sequence[Item], deadline: Deadline) -> Ran:
        if len(items) > 1:
            raise failure
        return await run(items, deadline)

    return broken


@pytest.mark.parametrize(
    "failure",
    [
        InferenceFailed("scored", 1, terminated=True),
        TransformFailed("scored", 1, terminated=True),
        ModelNotReady("scored", "it is stuck"),
        DeadlineExceeded("run", 1),
    ],
)
def test_what_would_fail_again_is_not_tried_again(failure: OnnicornError) -> None:
    bench = Bench()
    assert bench.score(1, failure) == [failure.code] * 2
    assert len(bench.form.ran) == 1


def test_a_mistake_of_ours_ends_everything() -> None:
    with pytest.raises(ValueError, match="ours"):
        Bench().score(ValueError("ours"))


@pytest.mark.parametrize("long", [False, True])
def test_an_answer_that_is_too_large_fails_alone(long: bool) -> None:
    assert Bench().score(1, 501, 51 if long else 3) == ["2", "answer_too_large", "102" if long else "6"]


def test_an_item_has_its_own_timeout_and_no_more_than_all_have() -> None:
    bench = Bench()
    deadline = Deadline(1e9, 1e9)
    items: dict[int, Any] = {0: item(1, timeout=5), 1: item(2), 2: item(3, timeout=1e12)}
    asyncio.run(bench.scoring.score(items, deadline))
    assert [each.timeout for each in bench.form.deadlines] == [5, 1e9, 1e9]


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"onnicorn_{name}", {"model": "scored", "version": "1", **labels}) or 0


def test_each_group_counts_as_a_request_and_each_failure_too() -> None:
    def counted() -> list[float]:
        return [
            metric("inference_requests_total", outcome="ok"),
            metric("inference_requests_total", outcome="inference_failed"),
            metric("inference_run_seconds_count"),
            metric("inference_queue_seconds_sum"),
            metric("inference_encode_seconds_count"),
        ]

    before, bench = counted(), Bench()
    bench.score(1, 2, 3, 4, 5, FAILED)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [2, 1, 2, 0.5, 1]
    assert (bench.record.rows, bench.record.queue, bench.record.run) == (5, 0.5, 1.0)


def test_a_group_that_fails_counts_once_as_one_that_runs_does() -> None:
    """Ten lines of nonsense are no ten requests."""

    def seconds_lost() -> float:
        labels = {"model": "scored", "version": "1", "outcome": "other"}
        return STATISTICS.get_sample_value("onnicorn_inference_request_seconds_total", labels) or 0

    def counted() -> list[float]:
        outcomes = ("malformed_request", "model_not_ready", "answer_too_large")
        return [metric("inference_requests_total", outcome=outcome) for outcome in outcomes]

    before, seconds = counted(), seconds_lost()
    bench = Bench()
    bench.score(*[MalformedRequest("?")] * 10, 1, ModelNotReady("scored", "it is stuck"), 3)
    bench.score(501, 502, 503)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 1, 1]
    assert seconds_lost() > seconds
    assert bench.record.failed == 16


@pytest.mark.parametrize(
    ("asked", "outcomes"),
    [
        ((1, 2, 3), {"ok": 1}),
        ((501, 502, 503), {"answer_too_large": 1}),
        ((1, 502, 3, 504), {"ok": 1, "answer_too_large": 1}),
        ((501, 502, 503, 504, 505), {"answer_too_large": 2}),
    ],
)
def test_a_group_counts_as_what_its_callers_get(asked: tuple[int, ...], outcomes: dict[str, int]) -> None:
    """One whose answers are all too large has run, and is no success."""

    def counted() -> dict[str, float]:
        return {outcome: metric("inference_requests_total", outcome=outcome) for outcome in ("ok", "answer_too_large")}

    before = counted()
    Bench().score(*asked)
    assert {name: now - before[name] for name, now in counted().items() if now != before[name]} == outcomes


def test_the_log_has_why_the_first_failed_that_was_no_callers_fault(records: list[EventDict]) -> None:
    bench = Bench()
    bench.score(MalformedRequest("?"), 1, FAILED, FAILED)
    assert bench.record.failed == 3
    assert records == [
        {
            "event": "answer_failed",
            "log_level": "error",
            "model": "scored",
            "version": 1,
            "number": 2,
            "code": "inference_failed",
            "request_id": "mine",
            "exc_info": FAILED,
        }
    ]
