"""400 MB of weights: what four workers need against one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import models
from benchmarks.bench import Bench
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import onnicorn
from service.bench import request


def measure(bench: Bench) -> Iterator[Result]:
    """Memory does not drift as time does: each is measured once."""
    model = models.heavy(bench.folder)
    requests = [request.infer_binary("heavy", {"x": np.ones((1, models.HEAVY_WIDTH), np.float32)})]
    one, four = (
        Parts(name, [memory_of(bench, model, workers, requests) / 1e6], "MB")
        for name, workers in (("1 worker", 1), ("4 workers", 4))
    )
    yield compare("400 MB of weights: memory of 4 workers / 1 worker", four, one, Target(1.4))


def memory_of(bench: Bench, repository: Path, workers: int, requests: Sequence[bytes]) -> int:
    """PSS of all processes after a second of load: a page that was never touched is in nobody's memory."""
    with onnicorn(repository, bench.folder, bench.cores.both, workers) as server:
        bench.closed(server, requests, concurrency=8 * workers, seconds=1)
        return server.memory()
