"""What runs in threads can be seen from outside, and be ended."""

import threading
from pathlib import Path

import numpy as np
import pytest

from service.engine import runs as module
from service.engine.runs import Run, Runs
from service.errors import InferenceFailed
from tests import tiny
from tests.unit.loading import load

ENDLESS = {"trips": np.array([10**15])}


def test_a_run_is_under_way_while_its_block_is() -> None:
    runs = Runs()
    with runs.enter("double", 1) as one, runs.enter("double", 2) as other:
        assert set(runs.under_way()) == {one, other}
        assert [(run.model, run.version) for run in (one, other)] == [("double", 1), ("double", 2)]
    assert runs.under_way() == []


def test_a_run_knows_how_long_it_has_gone_on_and_when_it_was_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    run = Run("double", 1)
    now[0] += 3
    assert (run.seconds, run.seconds_terminated) == (3, None)
    run.terminate()
    now[0] += 2
    assert (run.seconds, run.seconds_terminated) == (5, 2)


@pytest.mark.parametrize("terminated", [False, True])
def test_a_failure_says_whether_the_run_was_terminated(terminated: bool) -> None:
    runs = Runs()
    with pytest.raises(InferenceFailed) as caught, runs.enter("double", 1) as run:  # noqa: PT012
        if terminated:
            run.terminate()
        raise InferenceFailed("double", 1)
    assert caught.value.terminated is terminated
    assert runs.under_way() == []


def test_a_run_that_ends_by_itself_in_the_last_moment_has_its_result() -> None:
    with Runs().enter("double", 1) as run:
        run.terminate()


def test_a_model_that_runs_without_end_is_ended_and_runs_again(tmp_path: Path) -> None:
    model = load(tiny.loop(), tmp_path)
    with pytest.raises(InferenceFailed) as caught, Runs().enter("loop", 1) as run:  # noqa: PT012
        threading.Timer(0.01, run.terminate).start()
        model.run_together([ENDLESS], [1], ["turned"], run)
    assert caught.value.terminated
    [[turned]] = model.run_together([{"trips": np.array([3])}], [1], ["turned"], Run("loop", 1))
    assert turned.tolist() == [3]
