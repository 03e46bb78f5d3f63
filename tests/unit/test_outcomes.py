"""How reloads ended, for those who wait and for those who look."""

from pathlib import Path

import pytest

from service.outcomes import Outcome, Outcomes, Reason

GOOD = Outcome(result="committed", generation=2)
BAD = Outcome(result="refused", generation=2, reasons=(Reason(name="cat", version=3, text="it is broken"),))


@pytest.fixture
def outcomes(tmp_path: Path) -> Outcomes:
    return Outcomes(tmp_path)


def test_before_the_first_reload_there_is_none(outcomes: Outcomes) -> None:
    assert (outcomes.last(), outcomes.of(1)) == (None, None)


def test_each_wish_finds_its_own(outcomes: Outcomes) -> None:
    outcomes.note(9, GOOD)
    outcomes.note(10, BAD)
    assert [outcomes.of(position) for position in (5, 9, 10, 11)] == [GOOD, GOOD, BAD, None]
    assert outcomes.last() == BAD


def test_old_ones_are_forgotten(outcomes: Outcomes, tmp_path: Path) -> None:
    for position in range(1, 101):
        outcomes.note(position, GOOD)
    assert len(list(tmp_path.iterdir())) == 8
    assert outcomes.of(100) == GOOD


def test_a_reason_names_its_model(outcomes: Outcomes) -> None:
    both = Outcome(result="aborted", generation=1, reasons=(*BAD.reasons, Reason(text="the service is ending")))
    assert both.reason == "model 'cat': it is broken; the service is ending"
