"""More than can be done: ten times the peak of a model of 20 ms a run, twice the peak of a tiny one."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import mean
from typing import Final

from benchmarks import inputs, models
from benchmarks.bench import Bench, Flood, Served
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import Server, onnicorn
from service.bench import request
from service.bench.tally import Load

# What an operator sets who would rather have few answers late than many: four runs of the slower model.
_MAX_WAIT_MS: Final = 80
# Every request's X-Request-Timeout-Ms; and one that those who wait in the queue often reach.
_DEADLINE: Final = 0.5
_TIGHT: Final = 0.08
_TIMES: Final = {"chain": 10, "digits": 2}
# As many as keep the core busy and may all wait.
_CONCURRENCY: Final = {"chain": 2, "digits": 32}
_CALM: Final = 0.8
_REST_SECONDS: Final = 3.0
# Callers that are independent wait for no connection. So many are open that those would be enough for whom the server
# has no answer until their deadline, and half as many again, as far as a worker holds them (10,000).
_CONNECTIONS: Final = 64
_SPARE: Final = 1.5
_MOST: Final = 9000


@dataclass(frozen=True, slots=True)
class _Round:
    """One model's: alone at its peak just before and after, flooded, and what is known for the slower one only."""

    before: Served
    flood: Flood
    after: Served
    calm: Load | None = None
    tight: Flood | None = None

    @property
    def peak(self) -> Served:
        """A virtual machine that becomes slower or faster meanwhile does so for the peak as for the flood."""
        rate = mean((self.before.rate, self.after.rate))
        return Served(rate, mean((self.before.cpu_per_request, self.after.cpu_per_request)))


def measure(bench: Bench) -> Iterator[Result]:
    """Good answers a second, the wait of those who are let in, and what it costs to turn the others away."""
    bench.notes.append(
        f"overload: max_wait_ms {_MAX_WAIT_MS}, each request's timeout {_DEADLINE * 1000:g} ms, an open loop of "
        f"{_seconds(bench):g} s; a good answer is a 200 before the deadline, since it should have been sent"
    )
    repository = models.overload(bench.folder)
    cores = {bench.cores.serving}
    wait = str(_MAX_WAIT_MS)
    with onnicorn(repository, bench.folder, cores, name="overload", ONNICORN_ADMISSION__MAX_WAIT_MS=wait) as server:
        for model in _TIMES:
            bench.closed(server, _requests(model), _CONCURRENCY[model], 1)
        rounds = [(_chain(bench, server), _digits(bench, server)) for _ in range(bench.rounds)]
    chains, digits = [chain for chain, _ in rounds], [tiny for _, tiny in rounds]
    yield _good("a model of 20 ms, at ten times its peak", chains, Target(0.9, at_least=True))
    yield _good("digits, at twice its peak", digits, Target(0.6, at_least=True))
    yield _tail(chains)
    yield _late("the same", chains)
    yield _late("digits", digits)
    yield from _refusals(bench, digits)


def _chain(bench: Bench, server: Server) -> _Round:
    rate, seconds = _peak(bench, server, "chain").rate, _seconds(bench)
    calm = _flood(bench, server, "chain", _CALM * rate, seconds / 2).load
    tight = _flood(bench, server, "chain", _TIMES["chain"] * rate, seconds / 4, _TIGHT)
    return _Round(*_flooded(bench, server, "chain"), calm, tight)


def _digits(bench: Bench, server: Server) -> _Round:
    return _Round(*_flooded(bench, server, "digits"))


def _flooded(bench: Bench, server: Server, model: str) -> tuple[Served, Flood, Served]:
    """Between the flood and the second peak there is time for what the flood leaves behind."""
    before = _peak(bench, server, model)
    flood = _flood(bench, server, model, _TIMES[model] * before.rate, _seconds(bench))
    time.sleep(_REST_SECONDS)
    return before, flood, _peak(bench, server, model)


def _peak(bench: Bench, server: Server, model: str) -> Served:
    return bench.closed(server, _requests(model), _CONCURRENCY[model], min(5.0, _seconds(bench)))


def _flood(bench: Bench, server: Server, model: str, rate: float, seconds: float, deadline: float = _DEADLINE) -> Flood:
    connections = min(max(_CONNECTIONS, ceil(_SPARE * rate * deadline)), _MOST)
    return bench.flood(server, _requests(model, deadline), rate, seconds, connections, deadline)


def _requests(model: str, timeout: float | None = None) -> list[bytes]:
    if model == "digits":
        return [request.infer("digits", {"image": inputs.digits()}, timeout)]
    return [request.infer_binary("chain", {"x": inputs.row(models.CHAIN_WIDTH)}, timeout)]


def _seconds(bench: Bench) -> float:
    return bench.seconds / 10


def _good(name: str, rounds: Sequence[_Round], target: Target) -> Result:
    loads = [found.flood.load for found in rounds]
    good = Parts("good", [load.good / load.seconds for load in loads], "/s")
    peak = Parts("peak", [found.peak.rate for found in rounds], "/s")
    costs = [Parts("CPU per refused", costs, "us")] if (costs := _costs(rounds)) else []
    peaks = [
        Parts("peak before", [found.before.rate for found in rounds], "/s"),
        Parts("after", [found.after.rate for found in rounds], "/s"),
    ]
    return compare(f"{name}: good answers / peak", good, peak, target, *peaks, *_fates(loads), *costs)


def _fates(loads: Sequence[Load]) -> Iterator[Parts]:
    """What became of those that were not served, and whether the generator was there to see it."""
    for name, status in (("refused", 503), ("deadline exceeded", 504)):
        yield Parts(name, [100 * load.share(load.statuses.get(status, 0)) for load in loads], "%")
    yield Parts("not sent", [100 * load.share(load.unsent) for load in loads], "%")
    yield Parts("generator away", [100 * load.away for load in loads], "%")


def _tail(chains: Sequence[_Round]) -> Result:
    flooded = Parts("ten times", [1e3 * found.flood.load.p99 for found in chains], "ms")
    calm = Parts("0.8 of the peak", [1e3 * found.calm.p99 for found in chains if found.calm], "ms")
    return compare("the same: p99 of 200s / p99 at 0.8 of the peak", flooded, calm, Target(3))


def _late(name: str, rounds: Sequence[_Round]) -> Result:
    """Of both floods where there are two; the one with the tight deadline puts the queue's estimate to the test."""
    floods = [[flood.load for flood in (found.flood, found.tight) if flood is not None] for found in rounds]
    late = [sum(load.late for load in loads) for loads in floods]
    served = [sum(load.served for load in loads) for loads in floods]
    tight = [found.tight.load for found in rounds if found.tight]
    parts = [Parts("late", late, ""), Parts("200s", served, "")]
    if tight:
        parts.append(Parts(f"late at a deadline of {_TIGHT * 1000:g} ms", [load.late for load in tight], ""))
        parts.append(Parts("200s there", [load.served for load in tight], ""))
    shares = [count / max(1, of) for count, of in zip(late, served, strict=True)]
    return Result(f"{name}: share of 200s after their deadline", shares, parts, Target(0))


def _refusals(bench: Bench, digits: Sequence[_Round]) -> Iterator[Result]:
    costs = _costs(digits)
    if not costs:
        bench.notes.append("left out: CPU per refused request, because no digits request was refused")
        return
    served = Parts("served", [1e6 * found.peak.cpu_per_request for found in digits], "us")
    yield compare("digits: CPU per refused / per served", Parts("refused", costs, "us"), served, Target(0.35))


def _costs(rounds: Sequence[_Round]) -> list[float]:
    """Microseconds of CPU for each answer other than 200; none where there was a round without any.

    It is what the flood has cost less what its 200s have, each as much as at the peak.
    """
    refused = [found.flood.load.requests - found.flood.load.served for found in rounds]
    spent = [found.flood.cpu - found.flood.load.served * found.peak.cpu_per_request for found in rounds]
    return [1e6 * cpu / count for cpu, count in zip(spent, refused, strict=True)] if all(refused) else []
