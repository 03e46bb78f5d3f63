"""Clients that mean harm, or know no better: what they leave behind, and what others feel of them."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from benchmarks import attack, inputs
from benchmarks.bench import Bench
from benchmarks.cores import process_on
from benchmarks.models import DIGITS
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import Server, onnicorn
from service.bench import request
from service.bench.tally import Load

_CONCURRENCY: Final = 32
_HONEST_SECONDS: Final = 5.0
_REST_SECONDS: Final = 5.0
_HELD: Final = 1000
# A good client is not at fault for a server that is nearly full.
_SHARE_OF_PEAK: Final = 0.3
_OPENING_SECONDS: Final = 2.0
# Longer than a slow head or body may take (10 s), so that the service has some to end.
_LOOK_SECONDS: Final = 12.0
_SAYS_WHY: Final = ("503", "504")


def measure(bench: Bench) -> Iterator[Result]:
    """Memory, deaths and errors after hostile traffic; good clients' p99 beside slow connections."""
    requests = [request.infer("digits", {"image": inputs.digits()})]
    repository = DIGITS.parent.parent
    cores = {bench.cores.serving}
    with process_on(bench.cores.driving) as attackers:
        with onnicorn(repository, bench.folder, cores, name="attacked") as server:
            yield from _survival(bench, server, attackers, requests)
        with onnicorn(repository, bench.folder, cores, name="beset") as server:
            yield _tail(bench, server, attackers, requests)


def _survival(
    bench: Bench, server: Server, attackers: ProcessPoolExecutor, requests: Sequence[bytes]
) -> Iterator[Result]:
    """The same honest traffic before and after, so that what it needs is in both."""
    before, pids = _memory(bench, server, requests), server.pids()
    outcomes = attackers.submit(attack.attack, server.port, bench.seconds).result()
    time.sleep(_REST_SECONDS)
    after = _memory(bench, server, requests)
    bench.notes.extend(f"hostile: {name}: {_counts(counts)}" for name, counts in outcomes.items())
    attempts = Parts("attacks", [sum(sum(counts.values()) for counts in outcomes.values())], "")
    name = f"memory after {bench.seconds:g} s of hostile traffic / before"
    yield compare(name, Parts("after", [after], "MB"), Parts("before", [before], "MB"), Target(1.1), attempts)
    yield Result("the same: processes that died", [len(set(pids) - set(server.pids()))], (), Target(0))
    errors = {status: count for status, count in server.statuses().items() if status.startswith("5")}
    parts = [Parts(status, [count], "") for status, count in sorted(errors.items())]
    unexplained = sum(count for status, count in errors.items() if status not in _SAYS_WHY)
    yield Result("the same: answers with 5xx, without 503 and 504", [unexplained], parts, Target(0))


def _memory(bench: Bench, server: Server, requests: Sequence[bytes]) -> float:
    bench.closed(server, requests, _CONCURRENCY, _HONEST_SECONDS)
    return server.memory() / 1e6


def _tail(bench: Bench, server: Server, attackers: ProcessPoolExecutor, requests: Sequence[bytes]) -> Result:
    rate = _SHARE_OF_PEAK * bench.closed(server, requests, _CONCURRENCY, _HONEST_SECONDS).rate
    held: list[int] = []

    def alone() -> Load:
        return bench.open_loop(server, requests, rate, _LOOK_SECONDS)

    def beset() -> Load:
        holding = attackers.submit(attack.hold, server.port, _OPENING_SECONDS + _LOOK_SECONDS, _HELD)
        time.sleep(_OPENING_SECONDS)
        load = alone()
        held.append(holding.result())
        return load

    found = bench.take_turns({"alone": alone, "beset": beset})
    waits = {name: Parts(name, [1e3 * load.p99 for load in loads], "ms") for name, loads in found.items()}
    away = Parts("generator away", [100 * load.away for loads in found.values() for load in loads], "%")
    name = f"good clients' p99 beside {_HELD:,} slow connections / without"
    return compare(name, waits["beset"], waits["alone"], Target(1.5), Parts("held", held, ""), away)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{outcome} {count}" for outcome, count in sorted(counts.items()))
