"""What every measurement needs: a folder, the cores, the generator, rounds that take turns."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from benchmarks.cores import Cores, process_on
from benchmarks.server import Server
from service.bench import load
from service.bench.picture import Point
from service.bench.tally import Load

P = ParamSpec("P")
T = TypeVar("T")

_FINE: Final = frozenset({200})
# What an overloaded service may also say: refused, and too late.
_OVERLOADED: Final = frozenset({200, 503, 504})


@dataclass(frozen=True, slots=True)
class Served:
    """Requests a second, and CPU seconds of all the server's processes for each of them."""

    rate: float
    cpu_per_request: float


@dataclass(frozen=True, slots=True)
class Flood:
    """More than could be answered, and the CPU seconds that it cost all the server's processes."""

    load: Load
    cpu: float


@dataclass(frozen=True, slots=True)
class Bench:
    """`generator` and `alone` are processes: one on the core that drives, one on the server's, for runs without one.

    `seconds` is how long hostile traffic goes on. `curves` are for the picture, `notes` say what a reader of the table
    must know, `failures` counts answers that there should not have been, by server.
    """

    folder: Path
    rounds: int
    seconds: float
    cores: Cores
    generator: ProcessPoolExecutor
    alone: ProcessPoolExecutor
    curves: dict[str, list[Point]] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def prepared(cls, rounds: int, seconds: float) -> Iterator["Bench"]:
        """Everything in place; the folder and the processes are gone afterwards."""
        cores = Cores.choose()
        with (
            tempfile.TemporaryDirectory(prefix="onnicorn-benchmark-") as folder,
            process_on(cores.driving) as generator,
            process_on(cores.serving) as alone,
        ):
            yield cls(Path(folder), rounds, seconds, cores, generator, alone)

    def take_turns(self, contenders: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
        """A B C A B C ...: the machine's drift meets all alike. A first round warms up and is forgotten."""
        rounds = [{name: run() for name, run in contenders.items()} for _ in range(self.rounds + 1)]
        return {name: [found[name] for found in rounds[1:]] for name in contenders}

    def closed(self, server: Server, requests: Sequence[bytes], concurrency: int, seconds: float) -> Served:
        before = server.cpu_seconds()
        done = self.generator.submit(load.closed, server.endpoint, requests, concurrency, seconds).result()
        spent = server.cpu_seconds() - before
        return Served(self._checked(server, done).rate, spent / done.requests)

    def open_loop(self, server: Server, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
        done = self.generator.submit(load.open_loop, server.endpoint, requests, rate, seconds).result()
        return self._checked(server, done)

    def flood(
        self, server: Server, requests: Sequence[bytes], rate: float, seconds: float, connections: int, deadline: float
    ) -> Flood:
        """An open loop in which refusals are no failures."""
        before = server.cpu_seconds()
        arguments = (server.endpoint, requests, rate, seconds, connections, deadline)
        done = self.generator.submit(load.open_loop, *arguments).result()
        return Flood(self._checked(server, done, _OVERLOADED), server.cpu_seconds() - before)

    def run_alone(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.alone.submit(function, *args, **kwargs).result()

    def _checked(self, server: Server, done: Load, expected: frozenset[int] = _FINE) -> Load:
        """A refused request costs less than one that is served: figures with failures in them say nothing."""
        if failures := sum(count for status, count in done.statuses.items() if status not in expected):
            self.failures[server.name] = self.failures.get(server.name, 0) + failures
        return done
