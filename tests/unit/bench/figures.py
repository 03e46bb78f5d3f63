"""Loads and trials as a measurement might have found them."""

from collections.abc import Mapping
from contextlib import nullcontext
from math import nan
from typing import Any

from service.bench.combination import Combination
from service.bench.cores import Seats
from service.bench.endpoint import loopback
from service.bench.tally import Load
from service.bench.target import Target
from service.bench.trial import Trial

TARGET = Target(loopback(8000), "cat")


def load(statuses: Mapping[int, int] | None = None, ms: float = 1, seconds: float = 1, **others: Any) -> Load:
    """A second's: half of the requests take `ms`, the 90th percentile twice as long, the 99th three times ..."""
    found = {"p50": ms / 1000, "p90": ms / 500, "p99": 3 * ms / 1000, "longest": ms / 250}
    if statuses is not None and 200 not in statuses:
        found = dict.fromkeys(found, nan)
    rest = {"away": 0.0, "busy": 0.5, "good": 0, "late": 0, "delayed": 0, "unsent": 0}
    return Load(statuses=statuses or {200: 1000}, seconds=seconds, **{**found, **rest, **others})


def trial(combination: Combination | None = None, peak: int = 0, loads: Mapping[float, Load] | None = None) -> Trial:
    """`peak` requests a second; one round."""
    made = Trial(str(combination or "cat"), lambda: nullcontext(TARGET), Seats.alone(), combination)
    made.peaks = [load({200: peak})] if peak else []
    made.loads = {rate: [each] for rate, each in (loads or {}).items()}
    return made
