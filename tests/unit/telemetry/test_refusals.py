"""Refusals are accounted for together, ten times a second, and none is forgotten."""

import asyncio

from structlog.typing import EventDict

from service.telemetry.metrics import REGISTRY
from service.telemetry.refusals import Kind, Refusals
from tests.unit.loop import SECONDS, let_pass, turns

ROUTE = "/v2/models/{model_name}/infer"
NAMES = {
    "http_requests_total": {"route": ROUTE, "method": "POST", "status": "503"},
    "http_request_duration_seconds_count": {"route": ROUTE, "outcome": "other"},
    "http_request_duration_seconds_sum": {"route": ROUTE, "outcome": "other"},
    "inference_requests_total": {"model": "cat", "version": "3", "outcome": "overloaded"},
    "refused_total": {"reason": "wait"},
}


def kind(model: str, sentence: str = "is asked too much") -> Kind:
    return Kind(ROUTE, model, 3, 503, "wait", f"{model} {sentence}")


def counts() -> list[float]:
    return [REGISTRY.get_sample_value(f"onnicorn_{name}", labels) or 0 for name, labels in NAMES.items()]


def account(*noted: tuple[Kind, str]) -> None:
    async def run() -> None:
        refusals = Refusals()
        for each, identity in noted:
            refusals.note(each, identity)
        let_pass(SECONDS)
        await turns()
        refusals.note(*noted[0])
        refusals.account()

    asyncio.run(run())


def line(model: str, *ids: str) -> EventDict:
    return {
        "event": "refused",
        "log_level": "warning",
        "route": ROUTE,
        "model": model,
        "version": 3,
        "status": 503,
        "code": "overloaded",
        "reason": f"{model} is asked too much",
        "requests": len(ids),
        "request_ids": list(ids),
    }


def test_refusals_of_one_kind_share_a_line_that_names_each_of_them(records: list[EventDict]) -> None:
    cat, dog = kind("cat"), kind("dog")
    account((cat, "1"), (dog, "2"), (cat, "3"))
    assert records == [line("cat", "1", "3"), line("dog", "2"), line("cat", "1")]


def test_the_line_says_what_the_first_of_them_was_told(records: list[EventDict]) -> None:
    """How long each would have waited is different, and alone no other kind."""
    first, second = kind("cat"), kind("cat", "is asked much more")
    account((first, "1"), (second, "2"))
    assert records == [line("cat", "1", "2"), line("cat", "1")]


def test_they_are_gathered_for_a_tenth_of_a_second(records: list[EventDict]) -> None:
    async def run() -> list[int]:
        refusals, seen = Refusals(), []
        loop = asyncio.get_running_loop()
        now = loop.time()
        loop.time = lambda: now  # type: ignore[method-assign]
        for seconds in (0.0, 0.09, 0.02):
            refusals.note(kind("cat"), "1")
            now += seconds
            await turns()
            seen.append(len(records))
        return seen

    assert asyncio.run(run()) == [0, 0, 1]
    assert records == [line("cat", "1", "1", "1")]


def test_the_last_are_accounted_for_once() -> None:
    async def run() -> list[float]:
        refusals = Refusals()
        before = counts()
        refusals.note(kind("cat"), "1")
        refusals.account()
        let_pass(SECONDS)
        await turns()
        refusals.account()
        return [after - was for after, was in zip(counts(), before, strict=True)]

    assert asyncio.run(run()) == [1, 1, 0, 1, 1]


def test_every_refusal_is_counted(records: list[EventDict]) -> None:
    cat = kind("cat")
    before = counts()
    account((cat, "1"), (cat, "2"))
    assert [after - was for after, was in zip(counts(), before, strict=True)] == [3, 3, 0, 3, 3]


def test_a_line_names_no_more_than_collectors_of_logs_can_take(records: list[EventDict]) -> None:
    cat = kind("cat")
    ids = [str(number) for number in range(250)]
    account(*((cat, identity) for identity in ids))
    assert records == [line("cat", *part) for part in (ids[:100], ids[100:200], ids[200:], ids[:1])]
