"""The connections of one worker: how many there may be, who makes room, and one look at all of them now and then.

A timer for each connection would be set and cancelled with every request. One look at all of them, twice a second, is
cheaper than that even for thousands, and a request pays nothing for it.
"""

from collections.abc import Callable
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final

from service.knobs import Limits

if TYPE_CHECKING:
    from service.supervision.connection import Connection

# How often they are looked at, in seconds.
INTERVAL: Final = 0.5
# How many that are on their way out may be held besides those that the limit counts.
_MOST_LEAVING: Final = 64
# How many are found at once that could make room: looking for them goes through all.
_CANDIDATES: Final = 1024


class Crowd:
    """`connections` is the server's own set; `on_count` hears how many there are, whenever that changes."""

    def __init__(
        self,
        connections: set[Any],
        limits: Limits,
        keep_alive_seconds: float,
        on_count: Callable[[int], object] = lambda count: None,
    ) -> None:
        self.limits = limits
        self.keep_alive_seconds = keep_alive_seconds
        self.now = 0.0
        # Those that have had their last answer, the longest gone first.
        self.leaving: dict[Connection, None] = {}
        self._connections = connections
        self._on_count = on_count
        self._looked: float | None = None
        self._candidates: list[tuple[float, int, Connection]] = []
        self._has_searched = False

    def look(self, clock: float) -> None:
        """At each connection, if it is time.

        `now` goes on by an interval or two at most: while the loop is held up nobody is heard, and so nobody is slow.
        """
        elapsed = INTERVAL if self._looked is None else clock - self._looked
        if elapsed < INTERVAL:
            return
        self._looked = clock
        elapsed = min(elapsed, 2 * INTERVAL)
        self.now += elapsed
        self._candidates, self._has_searched = [], False
        for connection in list(self._connections):
            if connection.rests_until <= self.now:
                connection.look(elapsed)

    def has_lasted(self, since: float, seconds: float) -> bool:
        """Never too early: what is said to have begun at a look may have begun just before the next."""
        return self.now - since >= seconds + INTERVAL

    def admits(self) -> bool:
        """Whether one more that has just come can stay; the longest idle one may have to go."""
        count = len(self._connections)
        self._on_count(count)
        if count - len(self.leaving) <= self.limits.connections:
            return True
        if len(self.leaving) >= _MOST_LEAVING:
            longest_gone = next(iter(self.leaving))
            del self.leaving[longest_gone]
            longest_gone.transport.abort()
        return self._makes_room()

    def leave(self, connection: "Connection") -> None:
        """Its connection is lost."""
        self.leaving.pop(connection, None)
        self._on_count(len(self._connections))

    def _makes_room(self) -> bool:
        if not self._has_searched:
            self._has_searched = True
            idle = ((since, id(each), each) for each in self._connections if (since := each.idle_since) is not None)
            self._candidates = nsmallest(_CANDIDATES, idle)[::-1]
        while self._candidates:
            since, _, connection = self._candidates.pop()
            if connection.idle_since == since and connection in self._connections:
                connection.say_goodbye()
                return True
        return False
