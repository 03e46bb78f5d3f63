"""The settings to take, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from service.bench.figures import Figures, short
from service.bench.trial import Trial

# What differs by less is the machine's mood, and then fewer CPUs are better.
_ALIKE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`reason` is a sentence; `settings` are empty where there is none to recommend. `is_met` tells of the goal."""

    reason: str
    settings: Mapping[str, str] = field(default_factory=dict)
    is_met: bool = True


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A trial with its best figures; `score` are the requests a second that it is judged by."""

    trial: Trial
    best: Figures
    score: float

    @property
    def cpus(self) -> int:
        return self.trial.combination.cpus if self.trial.combination else 0


def recommend(trials: Sequence[Trial], goal: float | None) -> Recommendation | None:
    """Of several settings the ones with the most requests a second, under the goal (seconds) if there is one.

    None where there is nothing to say.
    """
    found = [
        _Candidate(trial, best, best.done if goal or trial.peak is None else trial.peak)
        for trial in trials
        if (best := trial.best(goal))
    ]
    if not found:
        return _nearest(trials, goal) if goal else None
    if len(trials) == 1:
        best = found[0].best
        return Recommendation(f"{_rate(best)}, {_under(goal)}{_doubt(best)}") if goal else None
    most = max(each.score for each in found)
    winner = min(
        (each for each in found if each.score >= (1 - _ALIKE) * most), key=lambda each: (each.cpus, -each.score)
    )
    combination = winner.trial.combination
    reason = f"{_reason(winner, found, goal)}{_doubt(winner.best)}"
    return Recommendation(reason, combination.variables if combination else {})


def _reason(winner: _Candidate, found: Sequence[_Candidate], goal: float | None) -> str:
    if goal:
        text = f"{winner.trial.label}: {_rate(winner.best)}, {_under(goal)}"
    elif winner.trial.peak is None:
        text = f"{winner.trial.label}: {_rate(winner.best)}"
    else:
        text = f"{winner.trial.label}: {short(winner.score)} requests/s at the peak, since no --goal-ms was given"
    others = [each for each in found if each is not winner]
    if not others:
        return f"{text}; nothing else does"
    other = max(others, key=lambda each: each.score)
    hardly = "hardly more, and not with less" if other.score > winner.score else "and is the next best"
    return f"{text}; {other.trial.label} does {short(other.score)}, {hardly}"


def _rate(best: Figures) -> str:
    return f"{short(best.done)} requests/s with a p99 of {short(1000 * best.p99)} ms"


def _under(goal: float | None) -> str:
    return f"under the goal of {1000 * goal:g} ms" if goal else ""


def _doubt(best: Figures) -> str:
    if "p99" not in best.doubtful:
        return ""
    return f"; but for {best.away:.1%} of that time the generator did not have its core, so measure it again"


def _nearest(trials: Sequence[Trial], goal: float) -> Recommendation:
    steady = [(trial, each) for trial in trials for each in trial.figures if each.is_steady]
    text = f"nothing keeps a p99 of {1000 * goal:g} ms"
    if not steady:
        return Recommendation(f"{text}: no rate was answered without errors and in step", is_met=False)
    trial, nearest = min(steady, key=lambda each: each[1].p99)
    who = f"{trial.label}: " if len(trials) > 1 else ""
    return Recommendation(f"{text}; the nearest is {who}{_rate(nearest)}", is_met=False)
