"""What is asked for becomes trials: a service that runs as it is, or a model under one or more settings."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.bench.combination import Combination, combinations, counts, usual_rows
from service.bench.cores import Seats
from service.bench.failures import BenchFailed
from service.bench.server import onnicorn
from service.bench.target import Target
from service.bench.trial import Trial
from service.loading import fitted, prepare_generation
from service.plan import plan_for_this_machine, some
from service.settings import Settings
from service.tensors import quote

_LOCALHOST: Final = "localhost"


@dataclass(frozen=True, slots=True)
class Sweep:
    """Workers, threads and rows to try, each with each; where none are named, those of the plan and the settings.

    `is_wanted` without any names asks for those that are worth trying here. `oversubscribed` are tried, too.
    """

    workers: Sequence[int] = ()
    threads: Sequence[int] = ()
    rows: Sequence[int] = ()
    is_wanted: bool = False
    oversubscribed: bool = False

    @property
    def is_named(self) -> bool:
        return bool(self.workers or self.threads or self.rows)


@dataclass(frozen=True, slots=True)
class Contenders:
    """`name` is the model's; `notes` say what a reader of the figures must know."""

    name: str
    trials: Sequence[Trial]
    notes: Sequence[str] = ()


def running_service(target: Target) -> Contenders:
    """One that somebody else has started. If it is on this machine, it shares the cores with the generator."""
    seats = Seats.shared() if _is_here(target.endpoint.host) else Seats.alone()
    return Contenders(f"{target.name} at {target.url}", [Trial(target.name, lambda: nullcontext(target), seats)])


def of_model(
    settings: Settings,
    environment: Mapping[str, str],
    named: str,
    sweep: Sweep,
    headers: Mapping[str, str],
    look: Callable[[], None],
) -> Contenders:
    """`NAME` or `NAME/VERSION` of the repository, each combination as a service of its own.

    Everything is prepared beforehand, so that no start has to wait for it. `look` is called while one is waited for,
    and may raise. Raises RepositoryError and BenchFailed.
    """
    manifest = prepare_generation(settings, number=1)
    name, _, version = named.partition("/")
    if not any(entry.name == name and version in ("", str(entry.version)) for entry in manifest.entries):
        have = quote(sorted({entry.name for entry in manifest.entries}))
        raise BenchFailed(f"there is no model {named!r} in {settings.repository.path}; it has {have}")
    plan = fitted(plan_for_this_machine(settings.runtime), settings, manifest.entries)
    wanted = _wanted(sweep, Combination(plan.workers, plan.intra_op_threads, settings.batching.max_rows), plan.cpus)
    fine = [each for each in wanted if sweep.oversubscribed or each.cpus <= plan.cpus or len(wanted) == 1]
    if not fine:
        raise BenchFailed(f"each combination needs more than {_granted(plan.cpus)}; --oversubscribed tries them")

    def trial(combination: Combination) -> Trial:
        seats = Seats.of(combination.cpus, plan.cpus)

        def opened() -> AbstractContextManager[Target]:
            return _service(environment, combination, settings.run.dir, seats, name, version, headers, look)

        return Trial(str(combination), opened, seats, combination)

    trials = [trial(each) for each in fine]
    return Contenders(named, trials, [*_left_out(wanted, fine, plan.cpus), *_shared(trials, plan.cpus)])


@contextmanager
def _service(
    environment: Mapping[str, str],
    combination: Combination,
    run: Path,
    seats: Seats,
    name: str,
    version: str,
    headers: Mapping[str, str],
    look: Callable[[], None],
) -> Iterator[Target]:
    with onnicorn(environment, combination.variables, run, seats, look) as endpoint:
        yield Target(endpoint, name, version, headers=headers)


def _wanted(sweep: Sweep, usual: Combination, cpus: int) -> list[Combination]:
    if sweep.is_named or not sweep.is_wanted:
        return combinations(
            sweep.workers or [usual.workers], sweep.threads or [usual.threads], sweep.rows or [usual.rows]
        )
    return combinations(counts(cpus), counts(cpus), usual_rows(usual.rows))


def _left_out(wanted: Sequence[Combination], fine: Sequence[Combination], cpus: int) -> Iterator[str]:
    if left := [each for each in wanted if each not in fine]:
        pairs = dict.fromkeys(f"{some(each.workers, 'worker')} x {some(each.threads, 'thread')}" for each in left)
        yield f"left out: {', '.join(pairs)}: more than {_granted(cpus)}; --oversubscribed tries them"


def _shared(trials: Sequence[Trial], cpus: int) -> Iterator[str]:
    if count := sum(trial.seats.is_shared for trial in trials):
        which = f"{count} of the {len(trials)} combinations" if len(trials) > 1 else "the service"
        yield (
            f"{which} may keep {_granted(cpus)} busy, so that the load generator has no core of its own there: with "
            "the machine to itself the service does more"
        )


def _granted(cpus: int) -> str:
    return f"the {some(cpus, 'CPU')} that {'is' if cpus == 1 else 'are'} granted here"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == _LOCALHOST
