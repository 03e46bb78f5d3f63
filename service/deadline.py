"""A point in time after which an answer is worthless."""

from dataclasses import dataclass
from math import inf
from time import monotonic

from service.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadline:
    """`at` is on the monotonic clock; `timeout` is the length that it came from, in seconds.

    A timeout becomes a deadline at the door, where the clock is read; below it is only passed on.
    """

    at: float = inf
    timeout: float = inf

    @classmethod
    def after(cls, timeout: float, begun: float) -> "Deadline":
        """`timeout` seconds after `begun`, a moment of the monotonic clock."""
        return cls(begun + timeout, timeout)

    @property
    def remaining(self) -> float:
        """Seconds; infinite where there is no deadline, negative where it has passed."""
        return self.at - monotonic() if self.at != inf else inf

    def check(self, stage: str) -> None:
        """Raises DeadlineExceeded, which names the stage that the request is in."""
        if self.at != inf and monotonic() >= self.at:
            raise self.exceeded(stage)

    def exceeded(self, stage: str) -> DeadlineExceeded:
        return DeadlineExceeded(stage, self.timeout)


NEVER = Deadline()
