"""Which core serves and which one drives: what shares a core with its load generator measures both."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """The core that the server has for itself, and the one that drives it."""

    serving: int
    driving: int

    @classmethod
    def choose(cls) -> "Cores":
        """The last two that this process may use: the first one answers most interrupts."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise SystemExit("the benchmark needs two cores: one for the server, one for its load")
        return cls(serving=usable[-1], driving=usable[-2])

    @property
    def both(self) -> set[int]:
        return {self.serving, self.driving}


def process_on(core: int) -> ProcessPoolExecutor:
    """A process of its own that stays on one core. Spawned: a fork would take ONNX Runtime's threads for alive."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), os.sched_setaffinity, (0, {core}))
