"""A tiny model: nothing but the price of HTTP."""

from collections.abc import Iterator
from contextlib import ExitStack

import orjson

from benchmarks import inputs, session
from benchmarks.bench import Bench
from benchmarks.models import DIGITS
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import onnicorn, uvicorn
from service.bench import request

_CONCURRENCY = 32
_SECONDS = 1.0


def measure(bench: Bench) -> Iterator[Result]:
    """CPU time per request: the service against the bare app, the common template, and the model alone."""
    scan = inputs.digits()
    plain = [request.infer("digits", {"image": scan})]
    typed = [request.post("/predict", orjson.dumps({"image": scan}, option=orjson.OPT_SERIALIZE_NUMPY))]
    cores = {bench.cores.serving}
    with ExitStack() as stack:
        ours = stack.enter_context(onnicorn(DIGITS.parent.parent, bench.folder, cores))
        bare = stack.enter_context(uvicorn("bare", DIGITS, bench.folder, cores))
        template = stack.enter_context(uvicorn("template", DIGITS, bench.folder, cores))
        found = bench.take_turns(
            {
                "onnicorn": lambda: bench.closed(ours, plain, _CONCURRENCY, _SECONDS).cpu_per_request,
                "bare app": lambda: bench.closed(bare, plain, _CONCURRENCY, _SECONDS).cpu_per_request,
                "template": lambda: bench.closed(template, typed, _CONCURRENCY, _SECONDS).cpu_per_request,
                "alone": lambda: bench.run_alone(session.run, DIGITS, [{"image": scan}], _SECONDS / 4).cpu_per_row,
            }
        )
    cpu = {name: Parts(name, [1e6 * seconds for seconds in values], "us") for name, values in found.items()}
    yield compare("digits, JSON: CPU per request / bare app", cpu["onnicorn"], cpu["bare app"], Target(2.0, aim=1.6))
    yield compare("digits, JSON: CPU per request / template", cpu["onnicorn"], cpu["template"], Target(0.2))
    yield compare("digits, JSON: CPU per request / model alone", cpu["onnicorn"], cpu["alone"])
