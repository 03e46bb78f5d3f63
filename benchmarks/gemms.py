"""Six Gemm 1024: a model that is several times cheaper per row when callers run together."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks import inputs, models, session
from benchmarks.bench import Bench, Served
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import onnicorn, uvicorn
from benchmarks.session import Inputs
from service.bench import request

_CONCURRENCY = 64
_SECONDS = 1.2


def measure(bench: Bench) -> Iterator[Result]:
    """Rows a second on one core, one row in each request, against batches that somebody has made beforehand."""
    model = models.gemms(bench.folder)
    row = inputs.row()
    requests = [request.infer_binary("gemms", {"x": row})]
    batch = {"x": np.repeat(row, 32, axis=0)}
    cores = {bench.cores.serving}
    with ExitStack() as stack:
        ours = stack.enter_context(onnicorn(model, bench.folder, cores))
        bare = stack.enter_context(uvicorn("bare", model, bench.folder, cores))
        found = bench.take_turns(
            {
                "onnicorn": lambda: bench.closed(ours, requests, _CONCURRENCY, _SECONDS),
                "bare app": lambda: bench.closed(bare, requests, _CONCURRENCY, _SECONDS),
                "alone, by 32": lambda: _alone(bench, model, batch),
            }
        )
    rates = {name: Parts(name, [served.rate for served in rounds], "rows/s") for name, rounds in found.items()}
    cpu = {
        name: Parts(name, [1e6 * served.cpu_per_request for served in rounds], "us") for name, rounds in found.items()
    }
    target = Target(0.5, at_least=True, aim=0.6)
    yield compare("six Gemm 1024, binary: rows/s / alone at batch 32", rates["onnicorn"], rates["alone, by 32"], target)
    yield compare("six Gemm 1024, binary: rows/s / bare app", rates["onnicorn"], rates["bare app"])
    yield compare("six Gemm 1024, binary: CPU per row / alone at batch 32", cpu["onnicorn"], cpu["alone, by 32"])


def _alone(bench: Bench, model: Path, batch: Inputs) -> Served:
    run = bench.run_alone(session.run, model, [batch], _SECONDS)
    return Served(run.rows_per_second, run.cpu_per_row)
