"""What a scraper gets: the sum over all processes, and what the board, /proc and the cgroup say at that moment."""

import platform
from collections.abc import Callable, Iterable, Iterator
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

# One served version: its name, number and digest.
Served = tuple[str, int, str]

_NOT_SCRAPED: Final = frozenset(family.name for family in STATISTICS.collect())
_SHOWN_STATES: Final = [state for state in State if state is not State.FREE]


class Scrape:
    """Renders the metrics of the whole service, from whichever process it is asked in."""

    def __init__(self, board: Board, served: Callable[[], Iterable[Served]], files: Path | None = None) -> None:
        """`files` is the directory of all processes' metrics and outcomes; None where there is one process only."""
        self._registry = CollectorRegistry()
        if files:
            self._registry.register(_Counted(files))
        else:
            self._registry.register(REGISTRY)
        self._registry.register(_Moment(board, served, Outcomes(files) if files else None))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type: OpenMetrics where `accept` asks for it, else Prometheus text. Blocks."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Counted(Collector):
    """What all processes have counted, as far as it is scraped."""

    def __init__(self, files: Path) -> None:
        self._files = MultiProcessCollector(None, str(files))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterator[Metric]:
        for family in self._files.collect():  # type: ignore[no-untyped-call]
            if family.name not in _NOT_SCRAPED:
                yield family


class _Moment(Collector):
    """Values that nobody counts: they are looked up."""

    def __init__(self, board: Board, served: Callable[[], Iterable[Served]], outcomes: Outcomes | None) -> None:
        self._board = board
        self._served = served
        self._outcomes = outcomes
        self._cgroup = Cgroup.of_this_process()
        self._build = (__version__, version("onnxruntime"), platform.python_version())

    def collect(self) -> Iterator[Metric]:
        yield _family("start_time_seconds", ((), self._board.since))
        states = [worker.state for worker in self._board.workers()]
        yield _family("workers", *(((state.name,), states.count(state.name)) for state in _SHOWN_STATES))
        yield from self._processes()
        yield _family("model_info", *(((name, str(number), digest), 1) for name, number, digest in self._served()))
        yield _family("repository_faults", ((), self._faults()))
        yield _family("build_info", (self._build, 1))
        yield _family("cpu_throttled_seconds", ((), self._cgroup.throttled_seconds()))
        cgroup = self._cgroup
        memory = {"used": cgroup.memory_used(), "working_set": cgroup.working_set(), "limit": cgroup.memory_limit()}
        yield _family("memory_bytes", *(((kind,), value) for kind, value in memory.items() if value is not None))

    def _faults(self) -> int:
        """Where nothing is reloaded there are none."""
        last = self._outcomes.last() if self._outcomes else None
        return len(last.standing) if last else 0

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
