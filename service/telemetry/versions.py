"""Which versions have series: those that are served, and those before them, whose last requests may still run.

Each has some hundred in every scrape, and a place for each of them in every worker's file. A service that is given a
new version every hour would have thousands, most of them of what nobody serves any more.
"""

from collections.abc import Set

from service.telemetry import metrics, zeros


class Versions:
    """Follows what a process serves, from one generation to the next."""

    def __init__(self) -> None:
        self._served: Set[tuple[str, int]] = frozenset()

    def serve(self, served: Set[tuple[str, int]]) -> None:
        """From now on these: they begin at 0, and what has not been served since the last change is forgotten."""
        for model, version in served:
            zeros.of_model(model, version)
        # A worker that has just begun does not know what was served before; what its predecessor counted stays.
        if self._served:
            metrics.keep(self._served | served)
        self._served = served
