"""What metrics tell of the models: what is served, what was refused, and which versions have series.

Those that are served have, and those of the generation before, whose last requests may still run. Each has some hundred
in every scrape: a service that is given a new version every hour would have thousands, most of them of what nobody
serves any more. All workers' numbers of such a version vanish together, with the commit: were they to go one worker
after the other, their sum would fall step by step, and Prometheus takes a counter that falls for one that has begun
anew, and what is left of it for a burst.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

# One served version: its name, number and digest.
Served = tuple[str, int, str]


@dataclass(frozen=True)
class Versions:
    """Of the committed generation, and `before` of the one that it has replaced.

    `refused` are those that the repository holds and that the committed one leaves out; without a number a whole model.
    """

    served: tuple[Served, ...] = ()
    before: tuple[Served, ...] = ()
    refused: frozenset[tuple[str, int | None]] = frozenset()

    def show(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is about one of them, or about no model at all."""
        return "model" not in labels or (labels["model"], labels.get("version", "")) in self._shown

    @cached_property
    def _shown(self) -> frozenset[tuple[str, str]]:
        known = (*self.served, *self.before)
        return frozenset(pair for name, number, _ in known for pair in ((name, str(number)), (name, "")))
