"""What a measurement found, beside the target that the service has set itself."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that must hold, and where there is one the figure that we would like."""

    bound: float
    at_least: bool = False
    aim: float | None = None

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.bound:g}" + (f", aim {self.aim:g}" if self.aim is not None else "")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a ratio is made of: one figure for each round."""

    name: str
    values: Sequence[float]
    unit: str

    def __str__(self) -> str:
        return f"{self.name} {statistics.median(self.values):.4g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Result:
    """`values` has one figure for each round; the median is the result. Without a target it is there to be known."""

    name: str
    values: Sequence[float]
    parts: Sequence[Parts]
    target: Target | None = None
    unit: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "met" if self.target.is_met(self.value) else "missed"

    def document(self) -> dict[str, Any]:
        """For JSON: all rounds, so that a reader can judge the spread."""
        return {
            "name": self.name,
            "value": self.value,
            "rounds": list(self.values),
            "unit": self.unit or "ratio",
            "target": str(self.target) if self.target else None,
            "verdict": self.verdict or None,
            "parts": {part.name: {"rounds": list(part.values), "unit": part.unit} for part in self.parts},
        }


def compare(name: str, ours: Parts, other: Parts, target: Target | None = None, *more: Parts) -> Result:
    """Ours against the other, round by round: a drift of the machine is in both and cancels out."""
    ratios = [mine / theirs for mine, theirs in zip(ours.values, other.values, strict=True)]
    return Result(name, ratios, (ours, other, *more), target)


def table(results: Sequence[Result]) -> str:
    """As plain text, one line for each result."""
    rows = [("", "figure", "rounds", "target", "", "medians"), *map(_row, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(result: Result) -> tuple[str, ...]:
    low, high = min(result.values), max(result.values)
    spread = f"{low:.3g} .. {high:.3g}" if len(result.values) > 1 else "1"
    return (
        result.name,
        f"{result.value:.3g} {result.unit}".rstrip(),
        spread,
        str(result.target or ""),
        result.verdict,
        " | ".join(map(str, result.parts)),
    )
