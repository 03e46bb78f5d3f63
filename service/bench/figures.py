"""What was found at one rate: the rounds in one line, for people and for programs."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from service.bench.connection import LOST
from service.bench.tally import OK, Load

# The share of the requests that a percentile leaves out. Where the generator was away for half of that, those may be
# the ones that it was not there to see.
_LEFT_OUT: Final = {"p90": 0.1, "p99": 0.01, "max": 0.0}
_MARGIN: Final = 0.5
# The same for the longest wait, which any absence may be.
_LEAST_AWAY: Final = 0.001
# A round's 99th percentile of fewer answers is hardly more than the longest of them.
_FEWEST: Final = 100
_KEEPS_UP: Final = 0.95
_MOST_DELAYED: Final = 0.05
_RATES_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians of the rounds; of the longest wait, of what was away and of the delayed share the worst.

    `fewest` are the answers with 200 in the round that has the fewest of them.

    `asked` and `done` are requests a second, the latter those that were answered with 200. Latencies are seconds, of
    answers with 200 alone, NaN where there is none. `errors` has the other answers by status, `lost` among them.
    `delayed` is the share of the requests that left later than they should have, and `away` that of the time in which
    the generator did not have its core.
    """

    asked: float
    done: float
    requests: int
    fewest: int
    p50: float
    p90: float
    p99: float
    longest: float
    errors: Mapping[str, int]
    delayed: float
    away: float

    @classmethod
    def of(cls, asked: float, loads: Sequence[Load]) -> "Figures":
        statuses: Counter[int] = Counter()
        for load in loads:
            statuses.update(load.statuses)
        return cls(
            asked=asked,
            done=statistics.median(load.served / load.seconds for load in loads),
            requests=statuses.total(),
            fewest=min(load.served for load in loads),
            p50=statistics.median(load.p50 for load in loads),
            p90=statistics.median(load.p90 for load in loads),
            p99=statistics.median(load.p99 for load in loads),
            longest=max(load.longest for load in loads),
            errors={name(status): count for status, count in sorted(statuses.items()) if status != OK},
            delayed=max(load.share(load.delayed) for load in loads),
            away=max(load.away for load in loads),
        )

    @property
    def is_steady(self) -> bool:
        """Everything was answered with 200, at the rate that was asked for."""
        return not self.errors and self.done >= _KEEPS_UP * self.asked

    def meets(self, goal: float) -> bool:
        """`goal` is in seconds."""
        return self.is_steady and self.p99 <= goal

    @property
    def doubtful(self) -> list[str]:
        """The percentiles that tell of the generator's machine and not of the service."""
        return [each for each, left in _LEFT_OUT.items() if self.away >= max(_MARGIN * left, _LEAST_AWAY)]

    @property
    def is_short_of_connections(self) -> bool:
        """The service keeps up, and the requests do not leave in time, although the generator was there."""
        return self.done >= _KEEPS_UP * self.asked and self.delayed > _MOST_DELAYED and "p99" not in self.doubtful

    @property
    def is_too_much(self) -> bool:
        """The service does not keep up, although the generator was there and nothing was refused."""
        return not self.errors and not self.is_steady and "p99" not in self.doubtful

    @property
    def is_few(self) -> bool:
        """Too few answers for a 99th percentile, in one of the rounds."""
        return 0 < self.fewest < _FEWEST

    def document(self) -> dict[str, Any]:
        latencies = {"p50": self.p50, "p90": self.p90, "p99": self.p99, "max": self.longest}
        return {
            "asked_per_second": self.asked,
            "done_per_second": self.done,
            "requests": self.requests,
            "latency_ms": {name: 1000 * value if isfinite(value) else None for name, value in latencies.items()},
            "errors": dict(self.errors),
            "late_share": self.delayed,
            "away_share": self.away,
            "doubtful": self.doubtful,
        }


def name(status: int) -> str:
    return "lost" if status == LOST else str(status)


def counted(errors: Mapping[str, int]) -> str:
    """`503 x 12, lost x 1`."""
    return ", ".join(f"{each} x {count:,}" for each, count in errors.items()) or "none"


def short(number: float) -> str:
    """Three digits are more than a machine repeats."""
    if not isfinite(number):
        return "-"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def doubts(figures: Sequence[Figures], connections: int) -> Iterator[str]:
    """What a reader must know before believing them, in sentences."""
    away = [each for each in figures if each.doubtful]
    if any("p99" in each.doubtful for each in away):
        share = max(each.away for each in away)
        yield (
            f"* the generator did not have its core for up to {share:.1%} of the time: a percentile that is marked "
            "tells of this machine and not of the service; keep the machine quieter, or drive from another one"
        )
    elif away:
        yield "* the generator was away for a moment: the longest wait may be its own"
    if any(each.is_few for each in figures):
        yield f"a p99 of fewer than {_FEWEST} answers is hardly more than the longest wait: raise --seconds or --rate"
    if behind := [short(each.asked) for each in figures if each.is_too_much]:
        yield (
            f"less was done than asked for, at {_listed(behind)}: that is more than can be, and the latencies there "
            "grow with --seconds"
        )
    if waited := [short(each.asked) for each in figures if each.is_short_of_connections]:
        yield (
            f"many requests had to wait for one of the {connections} connections, which is in their latency, at "
            f"{_listed(waited)}: more callers would be --connections"
        )


def _listed(rates: Sequence[str]) -> str:
    more = len(rates) - _RATES_SHOWN
    return ", ".join(f"{rate}/s" for rate in rates[:_RATES_SHOWN]) + (f" and {more} more rates" if more > 0 else "")
