"""Who may wait: bounds in requests, rows and bytes, and refusal when the wait would be too long.

A refusal costs little and says so at once; nothing was run. Those who were admitted keep their place: it is the newest
who are refused, and those whom more urgent ones overtake for too long.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from service.deadline import Deadline
from service.errors import Overloaded
from service.knobs import Admission

# How much of what was believed a new observation replaces.
_LEARN: Final = 0.2
# The share of a timeout that is kept for what nobody foresees, such as the way of the answer.
_MARGIN: Final = 0.05


@dataclass(frozen=True, slots=True)
class Load:
    """What a newcomer finds: whether something runs, the requests and rows that run before it, and for how long.

    `wait` is in seconds until its own run would begin; `pace` is how many seconds a row takes.
    """

    busy: bool = False
    requests: int = 0
    rows: int = 0
    wait: float = 0.0
    pace: float = 0.0


class Pace:
    """How many seconds a row takes where runs are full: what is believed, corrected by what is seen.

    `alone` is how many seconds one request takes that runs by itself, 0 where none has yet.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.alone = 0.0

    def note(self, rows: int, seconds: float, is_full: bool) -> None:
        """A run of so many rows has taken so long. One that could have been fuller says no more than: not slower."""
        seen = seconds / max(rows, 1)
        if is_full or seen < self.seconds:
            self.seconds = _corrected(self.seconds, seen)

    def note_alone(self, seconds: float) -> None:
        """A request that ran by itself has taken so long."""
        self.alone = _corrected(self.alone, seconds)

    def wait(
        self, rows: int, max_rows: int, running: Iterable[tuple[int, float]], one_by_one: Iterable[int] = ()
    ) -> float:
        """Seconds until so many rows have run, one run at a time. `running` are runs' rows, and since when they run.

        `one_by_one` are the rows of requests that run by themselves before. A run that already takes longer than a full
        one should is believed more than what was seen before.
        """
        pace, left = self.seconds, 0.0
        for running_rows, seconds in running:
            pace = max(pace, seconds / max(max_rows, running_rows))
            left += max(0.0, running_rows * self.seconds - seconds)
        return rows * pace + left + sum(max(self.alone, each * pace) for each in one_by_one)


def _corrected(believed: float, seen: float) -> float:
    return believed + (seen - believed) * (_LEARN if believed else 1)


def check(bounds: Admission, model: str, load: Load, rows: int, deadline: Deadline) -> None:
    """May a request of so many rows wait behind this load? Raises Overloaded."""
    if not load.busy:
        return
    if load.requests >= bounds.max_waiting:
        raise _refusal(model, f"{load.requests} requests wait, the most that may", "waiting", load.wait)
    if load.rows and load.rows + rows > bounds.max_rows:
        raise _refusal(model, f"{load.rows} rows wait, {bounds.max_rows} may", "rows", load.wait)
    check_wait(bounds, model, load.wait, deadline, rows * load.pace)


def check_wait(bounds: Admission, model: str, wait: float, deadline: Deadline, run: float = 0.0) -> None:
    """May a request wait for so many seconds, and then run for `run`? Raises Overloaded."""
    if wait > bounds.max_wait_ms / 1000:
        most = f"{bounds.max_wait_ms:.10g} ms is the most that any may"
        raise _refusal(model, f"the request would wait about {_ms(wait)} for its run, and {most}", "wait", wait)
    margin = _MARGIN * deadline.timeout
    if wait + run + margin > deadline.remaining:
        left = max(deadline.remaining - margin, 0)
        what = f"the request would take about {_ms(wait + run)}, and has {_ms(left)} left of its timeout"
        raise _refusal(model, what, "deadline", wait)


def overtaken(bounds: Admission, model: str) -> Overloaded:
    """What ends a request that more urgent ones have kept from its run for as long as any may wait."""
    most = f"{bounds.max_wait_ms:.10g} ms, the most that any may wait for its run"
    return _refusal(model, f"more urgent requests came for {most}", "wait", bounds.max_wait_ms / 1000)


def _refusal(model: str, what: str, reason: str, wait: float) -> Overloaded:
    return Overloaded(f"model {model!r} has too much to do: {what}", reason, wait)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


class Budget:
    """Bytes of request bodies that a worker holds, all together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def hold(self) -> "Hold":
        return Hold(self)

    def change(self, by: int) -> None:
        self.held += by

    def check(self, size: int) -> None:
        """Is there room for so many bytes more? Raises Overloaded."""
        if self.held + size > self._most:
            raise Overloaded(f"request bodies of {self.held} bytes are held, and {self._most} may be", "bytes", 1.0)


class Hold:
    """One request's share of the budget: it may grow and shrink, and is given back at the end of the block."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *exc: object) -> None:
        self._budget.change(-self.size)

    def check(self, size: int) -> None:
        """Would it have room for so many bytes in all? Raises Overloaded."""
        self._budget.check(size - self.size)

    def resize(self, size: int) -> None:
        """To so many bytes in all. Raises Overloaded."""
        self.check(size)
        self._budget.change(size - self.size)
        self.size = size
