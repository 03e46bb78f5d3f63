"""What has been counted of each version by all processes, for whoever wants numbers and no text."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.telemetry.metrics import PREFIX, REGISTRY, STATISTICS

Numbers = Mapping[tuple[str, str], float]
"""By the sample's name without our prefix, and by the value of its third label; "" where it has none."""


class Totals:
    """Reads the metrics that say of which model and version they are."""

    def __init__(self, files: Path | None = None) -> None:
        """`files` is the directory of all processes' metric files; None where there is one process only."""
        self._collectors: tuple[Collector, ...] = (REGISTRY, STATISTICS)
        if files:
            self._collectors = (MultiProcessCollector(None, str(files)),)  # type: ignore[no-untyped-call]

    def read(self) -> Mapping[tuple[str, str], Numbers]:
        """The numbers by model and version; none of one that has never been asked for anything. Blocks."""
        totals: defaultdict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
        for metric in chain.from_iterable(collector.collect() for collector in self._collectors):
            for sample in metric.samples:
                labels = dict(sample.labels)
                if "version" in labels:
                    version = labels.pop("model"), labels.pop("version")
                    totals[version][sample.name.removeprefix(f"{PREFIX}_"), "".join(labels.values())] = sample.value
        return totals
