"""What was found: for people as plain text, for programs as one document, and as a picture."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import service
from service.bench import picture
from service.bench.figures import Figures, counted, doubts, short
from service.bench.recommendation import Recommendation, recommend
from service.bench.trial import Pace, Trial

_HEAD: Final = ("asked/s", "done/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "errors", "late", "away")
_SETTINGS: Final = ("workers", "threads", "rows")
_PEAK: Final = "peak"
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Report:
    """`name` is the model's, `sent` tells what a request has in it, `notes` what was known beforehand.

    `goal` is a 99th percentile in seconds. An incomplete one was interrupted.
    """

    name: str
    sent: str
    pace: Pace
    trials: Sequence[Trial]
    goal: float | None = None
    notes: Sequence[str] = ()
    is_complete: bool = True

    @property
    def measured(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.peaks or trial.loads]

    @property
    def is_sweep(self) -> bool:
        return len(self.trials) > 1

    @property
    def is_good(self) -> bool:
        """Nobody has interrupted it, something could be measured to the end, and the goal is met."""
        is_done = self.is_complete and not all(trial.failure for trial in self.trials)
        return is_done and (self.recommendation is None or self.recommendation.is_met)

    @property
    def recommendation(self) -> Recommendation | None:
        return recommend(self.measured, self.goal) if self.measured else None

    @property
    def warnings(self) -> list[str]:
        return [*self.notes, *self._failures(), *self._limits(), *doubts(self._figures(), self.pace.connections)]

    def __str__(self) -> str:
        """The table and all that a reader must know to believe it."""
        if not self.measured:
            return f"{self.name}: nothing has been measured"
        recommendation = self.recommendation
        lines = [
            f"{self.name}, {self._how()}",
            f"each request: {self.sent}",
            "",
            *_aligned([self._head(), *self._rows()]),
            *(["", *map(_wrapped, self.warnings)] if self.warnings else []),
        ]
        if recommendation:
            settings = [f"  {variable}={value}" for variable, value in recommendation.settings.items()]
            lines += ["", _wrapped(f"{'recommended: ' if settings else ''}{recommendation.reason}"), *settings]
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        found = self.recommendation
        return {
            "model": self.name,
            "request": self.sent,
            "seconds": self.pace.seconds,
            "connections": self.pace.connections,
            "rounds": self.pace.rounds,
            "goal_ms": self.goal and 1000 * self.goal,
            "machine": _machine(),
            "results": [_document(trial) for trial in self.measured],
            "recommended": found
            and {"goal_met": found.is_met, "settings": dict(found.settings), "reason": found.reason},
            "warnings": self.warnings,
            "complete": self.is_complete,
        }

    def draw(self, path: Path) -> None:
        """An SVG."""
        curves = {trial.label: [_point(each) for each in trial.figures] for trial in self.measured}
        picture.write(path, curves, f"{self.name}: {self._how()}", self.goal)

    def _how(self) -> str:
        rounds = f", {self.pace.rounds} rounds" if self.pace.rounds > 1 else ""
        whole = "" if self.is_complete else "; interrupted"
        return f"{self.pace.connections} connections, {self.pace.seconds:g} s at each rate{rounds}{whole}"

    def _figures(self) -> list[Figures]:
        return [each for trial in self.measured for each in trial.figures]

    def _failures(self) -> Iterator[str]:
        for trial in self.trials:
            if trial.failure:
                yield f"{trial.label}: {trial.failure}"

    def _limits(self) -> Iterator[str]:
        if any(trial.is_generator_the_limit for trial in self.trials):
            yield "the generator itself was busy all the time at a peak: the service may do more than it could send"

    def _head(self) -> tuple[str, ...]:
        return (*(_SETTINGS if self.is_sweep else ()), *_HEAD)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for trial in self.measured:
            settings = _settings(trial) if self.is_sweep else ()
            if trial.peak is not None:
                yield (*settings, _PEAK, short(trial.peak), *4 * ("-",), counted(trial.peak_errors), "-", "-")
            yield from ((*settings, *_row(each)) for each in trial.figures)


def _settings(trial: Trial) -> tuple[str, ...]:
    each = trial.combination
    return (str(each.workers), str(each.threads), str(each.rows)) if each else ("", "", "")


def _row(figures: Figures) -> tuple[str, ...]:
    latencies = {"p50": figures.p50, "p90": figures.p90, "p99": figures.p99, "max": figures.longest}
    marks = {name: "*" if name in figures.doubtful else "" for name in latencies}
    return (
        short(figures.asked),
        short(figures.done),
        *(f"{marks[name]}{short(1000 * value)}" for name, value in latencies.items()),
        counted(figures.errors),
        f"{figures.delayed:.1%}",
        f"{figures.away:.1%}",
    )


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ("  ".join(map(str.rjust, row, widths)) for row in rows)


def _wrapped(text: str) -> str:
    return fill(text, _WIDTH, subsequent_indent="  ")


def _point(figures: Figures) -> picture.Point:
    return picture.Point(figures.done, figures.p50, figures.p99)


def _document(trial: Trial) -> dict[str, Any]:
    return {
        "settings": trial.combination.variables if trial.combination else {},
        "peak_per_second": trial.peak,
        "peak_errors": trial.peak_errors,
        "shares_a_core_with_the_generator": trial.seats.is_shared,
        "rates": [each.document() for each in trial.figures],
    }


def _machine() -> dict[str, Any]:
    """Without it nobody can tell what a figure was measured with."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "onnicorn": service.__version__,
    }
