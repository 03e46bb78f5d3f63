"""How slow a client may be: bytes that must come, or be taken, at a certain rate."""

from service.errors import RequestTimeout
from service.knobs import Limits


def slow_head(limits: Limits) -> RequestTimeout:
    return RequestTimeout(f"the request's line and headers took longer than {limits.header_seconds:g} s")


def slow_body(limits: Limits) -> RequestTimeout:
    rate = limits.body_bytes_per_second
    return RequestTimeout(f"the body comes too slowly: expected {rate} bytes a second or more")


class Pace:
    """Whether so many bytes pass in each stretch of time; each stretch is looked at by itself.

    A client that has been fast may not rest on it: what it has sent lies in our memory for as long as it waits.
    """

    __slots__ = ("_before", "_seconds", "_step")

    def __init__(self, before: int, step: int = 0) -> None:
        """`before` is how many bytes had passed when it began; `step`, how many may seem to pass all at once."""
        self._before = before
        self._step = step
        self._seconds = 0.0

    def is_kept(self, passed: int, elapsed: float, limits: Limits) -> bool:
        """`passed` bytes until now, `elapsed` seconds after the last look; the first of them may have been shorter."""
        self._seconds += elapsed
        if self._seconds <= max(limits.body_seconds, self._step / (limits.body_bytes_per_second or 1)):
            return True
        is_enough = passed - self._before >= limits.body_bytes_per_second * limits.body_seconds
        self._before, self._seconds = passed, 0.0
        return is_enough


class Reading:
    """Whether a client takes its answers at that rate. As long as everything has left us there is nothing to take.

    `sent` is how many bytes of answers that have ended were given to the connection.
    """

    __slots__ = ("_pace", "_step", "sent")

    def __init__(self, step: int = 0) -> None:
        self.sent = 0
        self._pace: Pace | None = None
        self._step = step

    def is_kept(self, answering: int, unsent: int, elapsed: float, limits: Limits) -> bool:
        """`answering` bytes of the answer under way have been given to the connection too; `unsent` are with us."""
        if not unsent:
            self._pace = None
            return True
        taken = self.sent + answering - unsent
        if self._pace is None:
            self._pace = Pace(taken, self._step)
            return True
        return self._pace.is_kept(taken, elapsed, limits)
