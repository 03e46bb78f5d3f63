"""What has been counted of each version by all processes, for whoever wants numbers and no text."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final

from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.telemetry.metrics import PREFIX, REGISTRY, STATISTICS

_FRESH_SECONDS: Final = 0.1

Numbers = Mapping[tuple[str, str], float]
"""By the sample's name without our prefix, and by the value of its third label; "" where it has none."""


class Totals:
    """Reads the metrics that say of which model and version they are."""

    def __init__(self, files: Path | None = None, clock: Callable[[], float] = monotonic) -> None:
        """`files` is the directory of all processes' metric files; None where there is one process only."""
        self._clock = clock
        self._fresh = _FRESH_SECONDS if files else 0.0
        self._lock = Lock()
        self._read: Mapping[tuple[str, str], Numbers] = {}
        self._until = 0.0
        self._collectors: tuple[Collector, ...] = (REGISTRY, STATISTICS)
        if files:
            self._collectors = (MultiProcessCollector(None, str(files)),)  # type: ignore[no-untyped-call]

    def read(self) -> Mapping[tuple[str, str], Numbers]:
        """The numbers by model and version; none of one that has never been asked for anything. Blocks.

        To read all files takes milliseconds, so for a moment whoever asks gets what another has just read.
        """
        with self._lock:
            if self._clock() >= self._until:
                self._read, self._until = self._collected(), self._clock() + self._fresh
            return self._read

    def _collected(self) -> Mapping[tuple[str, str], Numbers]:
        totals: defaultdict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
        for metric in chain.from_iterable(collector.collect() for collector in self._collectors):
            for sample in metric.samples:
                labels = dict(sample.labels)
                if "version" in labels:
                    version = labels.pop("model"), labels.pop("version")
                    totals[version][sample.name.removeprefix(f"{PREFIX}_"), "".join(labels.values())] = sample.value
        return totals
