"""What a scraper gets: the sum over all processes, and what the board, /proc and the cgroup say at that moment.

Numbers of versions that are neither served nor were before the last reload are left out; see `telemetry/versions.py`.
"""

import platform
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service import __version__
from service.board import Board
from service.cgroup import Cgroup
from service.outcomes import Outcomes
from service.process import Usage, usage_of
from service.rows import State
from service.telemetry.metrics import PREFIX, READ_AT_SCRAPE, REGISTRY, STATISTICS
from service.telemetry.versions import Versions

_NOT_SCRAPED: Final = frozenset(family.name for family in STATISTICS.collect())
_SHOWN_STATES: Final = [state for state in State if state is not State.FREE]


class Scrape:
    """Renders the metrics of the whole service, from whichever process it is asked in."""

    def __init__(self, board: Board, versions: Callable[[], Versions], files: Path | None = None) -> None:
        """`files` is the directory of all processes' metrics and outcomes; None where there is one process only."""
        counted = MultiProcessCollector(None, str(files)) if files else REGISTRY  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(_Counted(counted, versions))
        self._registry.register(_Moment(board, versions, Outcomes(files) if files else None))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type: OpenMetrics where `accept` asks for it, else Prometheus text. Blocks."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Counted(Collector):
    """What the processes have counted, of what is to be shown."""

    def __init__(self, counted: Collector, versions: Callable[[], Versions]) -> None:
        self._counted = counted
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        metrics = list(self._counted.collect())
        # Only now: what was to be shown may have been swept out of some of the files, but not before it was gone.
        versions = self._versions()
        for metric in metrics:
            if metric.name in _NOT_SCRAPED:
                continue
            metric.samples = [sample for sample in metric.samples if versions.show(sample.labels)]
            yield metric


class _Moment(Collector):
    """Values that nobody counts: they are looked up."""

    def __init__(self, board: Board, versions: Callable[[], Versions], outcomes: Outcomes | None) -> None:
        self._board = board
        self._versions = versions
        self._outcomes = outcomes
        self._cgroup = Cgroup.of_this_process()
        self._build = (__version__, version("onnxruntime"), platform.python_version())

    def collect(self) -> Iterator[Metric]:
        yield _family("start_time_seconds", ((), self._board.since))
        states = [worker.state for worker in self._board.workers()]
        yield _family("workers", *(((state.name,), states.count(state.name)) for state in _SHOWN_STATES))
        yield from self._processes()
        versions = self._versions()
        yield _family("model_info", *(((name, str(number), digest), 1) for name, number, digest in versions.served))
        yield _family("repository_faults", ((), self._faults(versions)))
        yield _family("build_info", (self._build, 1))
        yield _family("cpu_throttled_seconds", ((), self._cgroup.throttled_seconds()))
        cgroup = self._cgroup
        memory = {"used": cgroup.memory_used(), "working_set": cgroup.working_set(), "limit": cgroup.memory_limit()}
        yield _family("memory_bytes", *(((kind,), value) for kind, value in memory.items() if value is not None))

    def _faults(self, versions: Versions) -> int:
        """What failures are tolerated of is committed with its refusals; the others a reload leaves standing."""
        last = self._outcomes.last() if self._outcomes else None
        standing = {(reason.name, reason.version) for reason in (last.standing if last else ())}
        return len(standing | versions.refused)

    def _processes(self) -> Iterator[Metric]:
        """What each worker's process uses now. Series are named by slots, so they stay few whoever dies."""
        used = [(str(worker.slot), usage_of(worker.pid)) for worker in self._board.workers() if worker.pid]
        for field in fields(Usage):
            values = (((slot,), getattr(usage, field.name)) for slot, usage in used if usage)
            yield _family(f"worker_{field.name}", *values)


def _family(name: str, *samples: tuple[tuple[str, ...], float]) -> Metric:
    kind, text, labels = READ_AT_SCRAPE[f"{PREFIX}_{name}"]
    make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    family = make(f"{PREFIX}_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family
