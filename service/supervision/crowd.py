"""The connections of one worker: how many there may be, who makes room, and one look at all of them now and then.

A timer for each connection would be set and cancelled with every request. One look at all of them, twice a second, is
cheaper than that even for thousands, and a request pays nothing for it.
"""

import asyncio
from collections.abc import Callable
from heapq import nsmallest
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from service.errors import Overloaded
from service.knobs import Limits

if TYPE_CHECKING:
    from service.supervision.connection import Connection

log = structlog.get_logger()

# How often they are looked at, in seconds.
INTERVAL: Final = 0.5
# How long, in seconds, a turn of the loop may be spent on it, and for how long it then rests. What is ended makes
# several times as much work in later turns: its socket is closed, and its client comes again.
_MOMENT: Final = 0.25e-3
_REST: Final = 2e-3
# In so many turns at the most it has come to all of them: with the usual ones that is before the next look begins.
_TURNS: Final = 128
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
        self._cut: set[Connection] = set()
        self._connections = connections
        self._on_count = on_count
        self._looked: float | None = None
        self._elapsed = 0.0
        # Of the look that goes on: at whom it has still to come, and who has not taken all their answers.
        self._ahead: list[Connection] = []
        self._portion = 0  # how many of them at the least in each turn
        self._owed: list[Connection] = []
        self._candidates: list[tuple[float, int, Connection]] = []
        self._has_searched = False

    def look(self, clock: float) -> None:
        """At each connection, if it is time.

        `now` goes on by an interval or two at most: while the loop is held up nobody is heard, and so nobody is slow.
        """
        elapsed = INTERVAL if self._looked is None else clock - self._looked
        if elapsed < INTERVAL or self._ahead:
            return
        self._looked = clock
        self._elapsed = min(elapsed, 2 * INTERVAL)
        self.now += self._elapsed
        self._candidates, self._has_searched = [], False
        self._ahead, self._owed = list(self._connections), []
        self._portion = ceil(len(self._ahead) / _TURNS)
        self._look_on()

    def _look_on(self) -> None:
        """Ending a thousand connections takes a while; those who wait for answers have their turns between."""
        until, enough = monotonic() + _MOMENT, len(self._ahead) - self._portion
        while self._ahead:
            connection = self._ahead.pop()
            if connection.rests_until > self.now or connection not in self._connections:
                continue
            try:
                connection.look(self._elapsed)
            except Exception:
                log.exception("look_failed")  # and the others shall not suffer for it
            if connection.unsent:
                self._owed.append(connection)
            if monotonic() > until and len(self._ahead) <= enough:
                asyncio.get_running_loop().call_later(_REST, self._look_on)
                return
        self._bound_unsent()

    def _bound_unsent(self) -> None:
        """Answers that nobody takes may not fill the memory: whoever has the most to take loses the connection.

        One alone may be as large as an answer can be.
        """
        unsent = sum(connection.unsent for connection in self._owed)
        if unsent <= self.limits.unsent_bytes or len(self._owed) == 1:
            return
        for connection in sorted(self._owed, key=lambda each: each.unsent, reverse=True):
            unsent -= connection.unsent
            log.warning("answer_not_taken", unsent=connection.unsent, most=self.limits.unsent_bytes)
            connection.transport.abort()
            if unsent <= self.limits.unsent_bytes:
                return

    def has_lasted(self, since: float, seconds: float) -> bool:
        """Never too early: what is said to have begun at a look may have begun just before the next."""
        return self.now - since >= seconds + INTERVAL

    def admits(self) -> bool:
        """Whether one more that has just come can stay; the longest idle one may have to go."""
        count = len(self._connections)
        self._on_count(count)
        if count > self.limits.connections + _MOST_LEAVING and (longest_gone := self._longest_gone()):
            self._cut.add(longest_gone)
            longest_gone.transport.abort()
        return count - len(self.leaving) <= self.limits.connections or self._makes_room()

    def is_full(self) -> Overloaded:
        """What one is told that cannot stay."""
        most = self.limits.connections
        return Overloaded(f"{most} connections are open, and none of them is idle", "connections", 1)

    def leave(self, connection: "Connection") -> None:
        """Its connection is lost."""
        self.leaving.pop(connection, None)
        self._cut.discard(connection)
        self._on_count(len(self._connections))

    def _longest_gone(self) -> "Connection | None":
        """Who is cut off stays until the loop has told it: others may come before that."""
        return next((each for each in self.leaving if each not in self._cut), None)

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
