"""What became of the requests of one measurement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

OK: Final = 200


@dataclass(frozen=True, slots=True)
class Load:
    """What was answered and how it went. Latencies are seconds, and those of answers with 200; NaN where there is none.

    `statuses` has the number of answers by status; connections that went before their answer came are `LOST`, 0.

    `away` is the share of the time that an open loop's generator did not have its core: where it comes near the share
    that a percentile leaves out, that percentile tells of the machine and not of the server. `busy` is the share of
    the time that the generator has computed: a closed loop's near 1 tells of the generator.

    `good` counts the 200s that came before their deadline, from when they should have been sent; `late` those that came
    after it, from when they were sent in truth, which is all that a server can know. `delayed` are the requests that
    left later than they should have, because no connection was free or the generator was away; `unsent` never left.
    """

    statuses: Mapping[int, int]
    seconds: float
    p50: float
    p90: float
    p99: float
    longest: float
    away: float
    busy: float
    good: int
    late: int
    delayed: int
    unsent: int

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())

    @property
    def served(self) -> int:
        return self.statuses.get(OK, 0)

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def share(self, count: int) -> float:
        """Of all that should have been sent."""
        return count / max(1, self.requests + self.unsent)
