"""Which core serves and which one drives: what shares a core with its load generator measures both."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """The core that the server has for itself, and the one that drives it."""

    serving: int
    driving: int

    @classmethod
    def choose(cls) -> "Cores | None":
        """The last two that this process may use: the first one answers most interrupts. None where there is one."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(serving=usable[-1], driving=usable[-2]) if len(usable) > 1 else None

    @property
    def both(self) -> set[int]:
        return {self.serving, self.driving}


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Whatever this thread starts inside runs on these cores, as do all its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
