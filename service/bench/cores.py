"""Which cores serve and which ones drive: what shares a core with its load generator measures both."""

import os
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

# Between two looks at the clock of a generator that has no core of its own; the kernel adds about as much.
_NAP_SECONDS: Final = 50e-6


@dataclass(frozen=True, slots=True)
class Seats:
    """The cores of the service, those of the generator, and how long it naps on a core that is not its own."""

    serving: frozenset[int]
    driving: frozenset[int]
    nap: float = 0

    @classmethod
    def of(cls, needed: int, granted: int, usable: Sequence[int] | None = None) -> "Seats":
        """A core of its own for the generator where the service leaves one of those that are `granted`."""
        usable = sorted(os.sched_getaffinity(0)) if usable is None else usable
        if needed >= granted or len(usable) < 2:
            return cls.shared(usable)
        driving = usable[-2]  # not the first, which answers most interrupts
        return cls(frozenset(usable) - {driving}, frozenset({driving}))

    @classmethod
    def shared(cls, usable: Sequence[int] | None = None) -> "Seats":
        """The kernel decides."""
        every = frozenset(os.sched_getaffinity(0) if usable is None else usable)
        return cls(every, every, _NAP_SECONDS)

    @classmethod
    def alone(cls) -> "Seats":
        """The service runs elsewhere."""
        every = frozenset(os.sched_getaffinity(0))
        return cls(frozenset(), every)

    @property
    def is_shared(self) -> bool:
        return self.nap > 0


@contextmanager
def pinned(cores: Set[int]) -> Iterator[None]:
    """Whatever this thread starts inside runs on these cores, as do all its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
