"""A rehearsal is good if every request was answered, and run once."""

from collections.abc import Mapping, Sequence

import pytest

from rehearsal.load import FIRST, Call
from rehearsal.report import Report


def report(
    run: Mapping[str, int], *outcomes: str, seen: Mapping[str, int] | None = None, trouble: Sequence[str] = ()
) -> Report:
    calls = [Call(str(number), "new connection", outcome, 0, 0.001) for number, outcome in enumerate(outcomes)]
    return Report(10, 90.0, calls, run, seen or run, [], [], trouble)


def test_each_request_answered_and_run_once_is_good() -> None:
    assert report({"0": 1, "1": 1, FIRST: 1}, "", "").is_good()


def test_one_that_was_refused_by_one_copy_and_run_by_another_is_good() -> None:
    made = report({"0": 1}, "", seen={"0": 2})
    assert made.is_good()
    assert "refused by one copy, then run by another  1\n" in str(made)


@pytest.mark.parametrize(
    ("run", "outcomes"),
    [
        ({"0": 2}, [""]),
        ({"0": 1, "x": 1}, [""]),
        ({"0": 0}, [""]),
        ({}, [""]),
        ({"0": 1}, ["502: "]),
        ({}, ["ConnectionResetError: "]),
        ({}, []),
    ],
    ids=["run twice", "run unasked", "refused", "never seen", "run, and no answer", "failed", "no load"],
)
def test_anything_else_is_not(run: Mapping[str, int], outcomes: list[str]) -> None:
    assert not report(run, *outcomes).is_good()


def test_what_went_wrong_stands_below_the_table() -> None:
    made = report({"0": 1}, "", trouble=["copy-1 ended with 1"])
    assert not made.is_good()
    assert str(made).splitlines()[-1] == "copy-1 ended with 1"


def test_failures_are_told_by_their_kinds() -> None:
    assert str(report({}, "502: x", "502: x", "EOF")).splitlines()[-2:] == ["  2 x 502: x", "  1 x EOF"]
