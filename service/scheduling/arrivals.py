"""Requests that a worker has read and that its event loop has not come to yet.

A model that runs on the event loop has no other queue than this one: the loop reads whatever has come on all its
connections, and then does one request after the other. How long that takes for each is measured here.
"""

from time import monotonic
from typing import Final

# A turn of the loop with fewer requests tells too little of what each of them takes.
_TELLING: Final = 16
_LEARN: Final = 0.2


class Arrivals:
    """A turn begins with the first arrival and ends when the last of those that have arrived has begun."""

    __slots__ = ("_began", "_came", "_pace", "_turn", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self._pace = self._turn = 0.0
        self._came = 0
        self._began = 0.0

    def arrive(self) -> None:
        """Another request has been read."""
        if not self.waiting:
            self._began = monotonic()
            self._came = 0
        self.waiting += 1
        self._came += 1

    def begin(self) -> None:
        """The loop has come to one of them."""
        self.waiting -= 1
        if not self.waiting:
            self._turn = monotonic() - self._began if self._came >= _TELLING else 0.0
            if self._turn:
                self._pace += (self._turn / self._came - self._pace) * (_LEARN if self._pace else 1)

    @property
    def wait(self) -> float:
        """Seconds until the loop would come to one that arrives now.

        Where others wait, the loop reads, and nobody knows for how much longer: as long as the last time, say.
        """
        return max(self.waiting * self._pace, self._turn) if self.waiting else 0.0
