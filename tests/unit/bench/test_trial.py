"""Trials take turns, and one that fails does not stop the others."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest

from service.bench.cores import Seats
from service.bench.failures import BenchFailed
from service.bench.sample import Sample
from service.bench.target import Target
from service.bench.trial import Pace, Trial, take_turns
from tests.unit.bench.peer import Asked, answer, model, serving

PACE = Pace(0.05, 2, rates=(100,), rounds=2)


class Here:
    """A generator that runs in this process, and remembers where it was told to drive from."""

    def __init__(self) -> None:
        self.cores: list[object] = []

    def on(self, cores: object, tick: object) -> "Here":
        self.cores.append(cores)
        return self

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


@pytest.fixture
def target() -> Iterator[Target]:
    with serving(model(lambda _: answer(200), x=("FP32", [1]))) as peer:
        yield Target(peer.endpoint, "cat")


def run(pace: Pace, *trials: Trial) -> None:
    def find_sample(target: Target) -> Sample:
        return Sample(b"{}", {}, "nothing")

    take_turns(trials, pace, find_sample, Here(), lambda seconds: None)  # type: ignore[arg-type]


def test_each_has_its_turn_in_each_round(target: Target) -> None:
    turns: list[str] = []

    def trial(name: str) -> Trial:
        @contextmanager
        def opened() -> Iterator[Target]:
            turns.append(name)
            yield target
            turns.append(f"{name} is ended")

        return Trial(name, opened, Seats.alone())

    one, two = trial("one"), trial("two")
    run(PACE, one, two)
    assert turns == ["one", "one is ended", "two", "two is ended"] * 2
    assert [figures.requests for each in (one, two) for figures in each.figures] == [10, 10]
    assert one.peak is None


def test_without_rates_each_round_has_a_peak_and_the_rates_of_the_first(target: Target) -> None:
    trial = Trial("one", lambda: nullcontext(target), Seats.alone())
    run(Pace(0.4, 2, shares=(0.1, 0.2), rounds=2), trial)
    first, _ = trial.peaks
    assert [round(figures.asked / (first.served / first.seconds), 6) for figures in trial.figures] == [0.1, 0.2]
    assert [len(loads) for loads in trial.loads.values()] == [2, 2]
    assert (trial.peak or 0) > 0


def test_a_model_that_is_slower_than_the_time_that_it_has_is_a_sentence() -> None:
    is_over = threading.Event()

    def slowly(request: Asked) -> bytes:
        is_over.wait(0.7)  # the warm-up and the seconds that count are over then
        return answer(200)

    with serving(model(slowly, x=("FP32", [1]))) as peer:
        slow = Target(peer.endpoint, "cat")
        with pytest.raises(BenchFailed, match=r"'cat' takes longer than 0\.1 s to answer: take more --seconds"):
            run(Pace(0.1, 2), Trial("one", lambda: nullcontext(slow), Seats.alone()))


def failing(after: int, target: Target) -> Callable[[], AbstractContextManager[Target]]:
    turns = iter([target] * after)

    def opened() -> AbstractContextManager[Target]:
        ready = next(turns, None)
        if ready is None:
            raise BenchFailed("it does not start")
        return nullcontext(ready)

    return opened


def test_one_that_fails_is_left_out_from_then_on_and_keeps_what_it_has(target: Target) -> None:
    one = Trial("one", failing(3, target), Seats.alone())
    two = Trial("two", failing(1, target), Seats.alone())
    run(Pace(0.05, 2, rates=(100,), rounds=3), one, two)
    assert (one.failure, two.failure) == ("", "it does not start")
    assert [each.figures[0].requests for each in (one, two)] == [15, 5]


def test_if_the_first_of_all_fails_there_is_nothing_to_tell(target: Target) -> None:
    one, two = (Trial(name, failing(0, target), Seats.alone()) for name in ("one", "two"))
    with pytest.raises(BenchFailed, match="it does not start"):
        run(PACE, one, two)


def test_a_pace_knows_how_long_it_takes() -> None:
    assert Pace(3, 64).total(1, 3) == 3 + 6 * 3.5
    assert Pace(2, 64, rates=(10, 20), rounds=2).total(9, 3) == 2 * 9 * (3 + 2 * 2.5)
