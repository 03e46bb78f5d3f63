"""Settings of the service that are tried against one another."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final

from service.plan import some

WORKERS: Final = "ONNICORN_RUNTIME__WORKERS"
THREADS: Final = "ONNICORN_RUNTIME__INTRA_OP_THREADS"
ROWS: Final = "ONNICORN_BATCHING__MAX_ROWS"
_ROWS: Final = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class Combination:
    """Workers, threads inside each one's operators, and rows that run together."""

    workers: int
    threads: int
    rows: int

    @property
    def cpus(self) -> int:
        """That it may keep busy."""
        return self.workers * self.threads

    @property
    def variables(self) -> dict[str, str]:
        return {WORKERS: str(self.workers), THREADS: str(self.threads), ROWS: str(self.rows)}

    def __str__(self) -> str:
        return f"{some(self.workers, 'worker')} x {some(self.threads, 'thread')}, {some(self.rows, 'row')}"


def combinations(workers: Iterable[int], threads: Iterable[int], rows: Iterable[int]) -> list[Combination]:
    """Each with each, the fewest CPUs first."""
    return sorted(
        (Combination(*each) for each in product(workers, threads, rows)), key=lambda each: (each.cpus, each.workers)
    )


def counts(cpus: int) -> list[int]:
    """Of workers, or of threads, worth trying on so many CPUs: powers of two, and all of them."""
    return sorted({1 << power for power in range(cpus.bit_length())} | {cpus})


def usual_rows(set_by_hand: int) -> list[int]:
    return sorted({*_ROWS, set_by_hand})
