"""Requests that a worker has read and that its event loop has not come to yet.

A model that runs on the event loop has no other queue than this one: the loop reads whatever has come on all its
connections, and then does one request after the other. How long that takes for each is measured here.
"""

from time import monotonic
from typing import Final

# A turn of the loop with fewer requests tells too little of what each of them takes.
_TELLING: Final = 16
_LEARN: Final = 0.2
# If the loop rests for less than this many seconds between two turns, it has been busy all the while.
_BREATH: Final = 1e-3


class Arrivals:
    """A turn begins with the first arrival and ends when the last of those that have arrived has begun."""

    __slots__ = ("_arrived", "_began", "_came", "_ended", "_pace", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self._pace = 0.0
        self._came = 0
        self._began = self._ended = self._arrived = float("-inf")

    def arrive(self) -> float:
        """Another request has been read. Returns the moment, on the monotonic clock, at which it may have come.

        Where the loop has been busy, that is when its last turn began: whatever came since then has waited unread.
        """
        if not self.waiting:
            now = monotonic()
            self._arrived = self.since(now)
            self._began = now
            self._came = 0
        self.waiting += 1
        self._came += 1
        return self._arrived

    def since(self, now: float) -> float:
        """When what is read now may have come."""
        if self.waiting:
            return self._arrived
        return self._began if now - self._ended < _BREATH else now

    def begin(self) -> None:
        """The loop has come to one of them."""
        self.waiting -= 1
        if not self.waiting:
            self._ended = monotonic()
            if self._came >= _TELLING:
                seen = (self._ended - self._began) / self._came
                self._pace += (seen - self._pace) * (_LEARN if self._pace else 1)

    @property
    def wait(self) -> float:
        """Seconds until the loop would come to one that arrives now."""
        return self.waiting * self._pace
