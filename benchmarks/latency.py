"""How long callers wait, from nearly no load to nearly too much: the digits model under an open loop."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks import inputs
from benchmarks.bench import Bench
from benchmarks.models import DIGITS
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import onnicorn, uvicorn
from service.bench import request
from service.bench.picture import Point
from service.bench.tally import Load

_HALF: Final = 0.5
# Shares of each server's own peak rate, with the seconds that each is held: a p99 wants many requests.
_SHARES: Final = {0.1: 0.6, 0.3: 0.6, _HALF: 2.0, 0.7: 0.6, 0.9: 0.6}
_CONCURRENCY: Final = 32


def measure(bench: Bench) -> Iterator[Result]:
    """p99 : p50 at half of the peak rate, against the same of the bare app; and the curves of both."""
    requests = [request.infer("digits", {"image": inputs.digits()})]
    cores = {bench.cores.serving}
    with ExitStack() as stack:
        servers = {
            "onnicorn": stack.enter_context(onnicorn(DIGITS.parent.parent, bench.folder, cores)),
            "bare app": stack.enter_context(uvicorn("bare", DIGITS, bench.folder, cores)),
        }
        found = bench.take_turns(
            {name: partial(bench.closed, server, requests, _CONCURRENCY, 0.7) for name, server in servers.items()}
        )
        peaks = {name: statistics.median(served.rate for served in rounds) for name, rounds in found.items()}
        for share, seconds in _SHARES.items():
            calm = _calm(
                bench.take_turns(
                    {
                        name: partial(bench.open_loop, server, requests, share * peaks[name], seconds)
                        for name, server in servers.items()
                    }
                )
            )
            for name, loads in calm.items():
                bench.curves.setdefault(name, []).append(_point(loads))
            if share == _HALF:
                yield from _at_half(calm)


def _at_half(calm: dict[str, list[Load]]) -> Iterator[Result]:
    tails = {name: Parts(name, [load.p99 / load.p50 for load in loads], "") for name, loads in calm.items()}
    waits = {name: Parts(name, [1e3 * load.p50 for load in loads], "ms") for name, loads in calm.items()}
    away = Parts("generator away", [100 * load.away for loads in calm.values() for load in loads], "%")
    target = Target(1.5)
    yield compare("digits: p99 : p50 at half the peak / bare app", tails["onnicorn"], tails["bare app"], target, away)
    yield compare("digits: p50 at half the peak / bare app", waits["onnicorn"], waits["bare app"])


def _calm(found: dict[str, list[Load]]) -> dict[str, list[Load]]:
    """The better half of the rounds, judged by the generator alone, so that the choice favours no server.

    A wait cannot be told from a wait for a core that something else has taken; CPU time can.
    """
    rounds = [dict(zip(found, loads, strict=True)) for loads in zip(*found.values(), strict=True)]
    rounds.sort(key=lambda loads: max(load.away for load in loads.values()))
    return {name: [loads[name] for loads in rounds[: (len(rounds) + 1) // 2]] for name in found}


def _point(loads: Sequence[Load]) -> Point:
    return Point(*(statistics.median(getattr(load, name) for load in loads) for name in Point._fields))
