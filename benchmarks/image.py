"""An image-sized input: 150,528 floats, where copying and JSON cost more than everything else that is not the model."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks import codec, inputs, models, session
from benchmarks.bench import Bench
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import onnicorn, uvicorn
from service.bench import request

_CONCURRENCY = 8
_SECONDS = 1.8


def measure(bench: Bench) -> Iterator[Result]:
    """Binary over HTTP against the bare app; the JSON codec by itself against orjson and numpy."""
    yield from _over_http(bench)
    yield from _codec(bench)


def _over_http(bench: Bench) -> Iterator[Result]:
    model = models.image(bench.folder)
    picture = {"x": inputs.picture()}
    requests = [request.infer_binary("image", picture)]
    cores = {bench.cores.serving}
    with ExitStack() as stack:
        ours = stack.enter_context(onnicorn(model, bench.folder, cores))
        bare = stack.enter_context(uvicorn("bare", model, bench.folder, cores))
        found = bench.take_turns(
            {
                "onnicorn": lambda: bench.closed(ours, requests, _CONCURRENCY, _SECONDS).cpu_per_request,
                "bare app": lambda: bench.closed(bare, requests, _CONCURRENCY, _SECONDS).cpu_per_request,
                "alone": lambda: bench.run_alone(session.run, model, [picture], _SECONDS / 2).cpu_per_row,
            }
        )
    cpu = {name: Parts(name, [1e3 * seconds for seconds in values], "ms") for name, values in found.items()}
    yield compare("image, binary: CPU per request / bare app", cpu["onnicorn"], cpu["bare app"], Target(1.03))
    yield compare("image, binary: CPU per request / model alone", cpu["onnicorn"], cpu["alone"])


def _codec(bench: Bench) -> Iterator[Result]:
    found = bench.take_turns({name: partial(bench.run_alone, measure) for name, measure in codec.CONTENDERS.items()})

    def part(name: str, *steps: str) -> Parts:
        return Parts(name, [1e3 * sum(times[step] for step in steps) for times in found[name]], "ms")

    for name, steps, target in (
        ("image, JSON: decode + encode / orjson + numpy", ("decode", "encode"), Target(0.5)),
        ("image, JSON: decode + encode an answer as large", ("decode", "encode_large"), None),
    ):
        yield compare(name, part("onnicorn", *steps), part("orjson + numpy", *steps), target)
