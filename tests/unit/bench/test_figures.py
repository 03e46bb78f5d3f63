"""What is made of the rounds at one rate, and what a reader is told before believing it."""

from math import isnan

import pytest

from service.bench.figures import Figures, counted, doubts, short
from service.bench.tally import Load
from tests.unit.bench.figures import load


def test_rounds_become_medians_and_what_is_bad_becomes_the_worst() -> None:
    rounds = [
        load({200: 990, 503: 10}, ms=1, away=0.001, delayed=10),
        load({200: 1000}, ms=5, away=0.0, delayed=100),
        load({200: 980, 0: 20}, ms=2, away=0.002),
    ]
    assert Figures.of(1000, rounds) == Figures(
        asked=1000, done=990, requests=3000, fewest=980, p50=0.002, p90=0.004, p99=0.006, longest=0.02,
        errors={"lost": 20, "503": 10}, delayed=0.1, away=0.002,
    )  # fmt: skip


def test_only_answers_with_200_are_done() -> None:
    figures = Figures.of(100, [load({503: 100})])
    assert (figures.done, figures.errors, isnan(figures.p99)) == (0, {"503": 100}, True)
    assert figures.document()["latency_ms"] == {"p50": None, "p90": None, "p99": None, "max": None}


def test_programs_get_milliseconds() -> None:
    assert Figures.of(500, [load({200: 500}, ms=4, away=0.01)]).document() == {
        "asked_per_second": 500,
        "done_per_second": 500,
        "requests": 500,
        "latency_ms": {"p50": 4, "p90": 8, "p99": 12, "max": 16},
        "errors": {},
        "late_share": 0,
        "away_share": 0.01,
        "doubtful": ["p99", "max"],
    }


@pytest.mark.parametrize(
    ("away", "doubtful"),
    [(0, []), (0.0009, []), (0.001, ["max"]), (0.005, ["p99", "max"]), (0.05, ["p90", "p99", "max"])],
)
def test_a_percentile_is_doubtful_where_the_generator_was_away_for_half_of_what_it_leaves_out(
    away: float, doubtful: list[str]
) -> None:
    assert Figures.of(1000, [load(away=away)]).doubtful == doubtful


@pytest.mark.parametrize(
    ("statuses", "meets"), [({200: 1000}, True), ({200: 960}, True), ({200: 940}, False), ({200: 999, 503: 1}, False)]
)
def test_a_goal_is_met_without_errors_and_at_the_rate_that_was_asked_for(statuses: dict[int, int], meets: bool) -> None:
    figures = Figures.of(1000, [load(statuses, ms=1)])
    assert figures.meets(0.003) is meets
    assert not figures.meets(0.0029)


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        (load(), []),
        (
            load(away=0.02),
            [
                "* the generator did not have its core for up to 2.0% of the time: a percentile that is marked tells "
                "of this machine and not of the service; keep the machine quieter, or drive from another one"
            ],
        ),
        (
            load({200: 800}, away=0.5),  # nobody knows whether the service would have kept up
            [
                "* the generator did not have its core for up to 50.0% of the time: a percentile that is marked tells "
                "of this machine and not of the service; keep the machine quieter, or drive from another one"
            ],
        ),
        (load(away=0.002), ["* the generator was away for a moment: the longest wait may be its own"]),
        (
            load({200: 50}, seconds=0.05),
            ["a p99 of fewer than 100 answers is hardly more than the longest wait: raise --seconds or --rate"],
        ),
        (
            load({200: 800}),
            [
                "less was done than asked for, at 1,000/s: that is more than can be, and the latencies there grow with "
                "--seconds"
            ],
        ),
        (
            load(delayed=250),
            [
                "many requests had to wait for one of the 64 connections, which is in their latency, at 1,000/s: more "
                "callers would be --connections"
            ],
        ),
        (load({200: 500, 503: 500}), []),  # the table says so
    ],
)
def test_a_reader_is_warned(found: Load, sentences: list[str]) -> None:
    assert list(doubts([Figures.of(1000, [found])], connections=64)) == sentences


def test_few_are_few_in_each_round() -> None:
    rounds = [load({200: 60}), load({200: 60})]
    [sentence] = doubts([Figures.of(60, rounds)], connections=64)
    assert sentence.startswith("a p99 of fewer than 100 answers")
    assert list(doubts([Figures.of(60, [load({200: 60, 503: 100})])], connections=64)) == [sentence]


def test_many_rates_are_not_all_listed() -> None:
    [sentence] = doubts([Figures.of(rate, [load({200: 500})]) for rate in range(1000, 7000, 1000)], connections=64)
    assert "at 1,000/s, 2,000/s, 3,000/s, 4,000/s and 2 more rates: that" in sentence


def test_errors_are_counted_for_people() -> None:
    assert (counted({}), counted({"lost": 1, "503": 1200})) == ("none", "lost x 1, 503 x 1,200")


@pytest.mark.parametrize(
    ("number", "text"), [(float("nan"), "-"), (0.1234, "0.123"), (99.96, "100"), (123.4, "123"), (98790, "98,790")]
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text
