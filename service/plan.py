"""What this machine really grants, and what we make of it."""

import math
import os
from dataclasses import dataclass, replace
from typing import Final

from service.cgroup import Cgroup
from service.errors import StartError
from service.knobs import Admission, Runtime

_MEBIBYTE: Final = 1 << 20
# Measured as proportional set size with a small model: master and ops together, and what each worker adds.
_BASE_BYTES: Final = 64 * _MEBIBYTE
_WORKER_BYTES: Final = 40 * _MEBIBYTE
# Of the bytes that request bodies may have all together, how many times as much it takes for a moment to read the worst
# of them, and once more for answers that nobody takes; and the least that is worth serving with.
_TIMES: Final = 4
_LEAST_BODIES: Final = 16 * _MEBIBYTE


class DoesNotFit(StartError):
    """The workers and their models need more memory than the container has."""

    code = "does_not_fit"


@dataclass(frozen=True, slots=True)
class Plan:
    """How many workers, how many threads inside each one's operators, how many bytes of request bodies; and why."""

    workers: int
    intra_op_threads: int
    shares_cpus: bool
    reasons: tuple[str, ...]
    cpus: int = 1
    workers_by_hand: bool = False
    threads_by_hand: bool = False
    body_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of the models: those that all workers map once, and those that each worker keeps for itself."""

    shared: int = 0
    private: int = 0


def granted_cpus(cgroup: Cgroup, affinity: int) -> tuple[int, str]:
    """Whole CPUs that we may keep busy, and the reason.

    A quota of 1.5 CPUs is used by two threads that are throttled now and then; a quota of 2.1 by two that never are.
    """
    quota = cgroup.cpus()
    if quota is None or quota >= affinity:
        return affinity, f"{some(affinity, 'CPU')}: the process may run on so many, and no cgroup quota is tighter"
    cpus = max(1, math.ceil(quota - 0.25))
    return cpus, f"{some(cpus, 'CPU')}: the cgroup quota grants {quota:g} of the {affinity} that the process may run on"


def make_plan(runtime: Runtime, cgroup: Cgroup, affinity: int) -> Plan:
    """One worker per CPU with one thread each (`throughput`), or one worker with all threads (`latency`).

    What is set by hand is kept; what is not set follows from it, so that workers times threads meets the CPUs.
    """
    cpus, reason = granted_cpus(cgroup, affinity)
    wanted = 1 if runtime.profile == "latency" else cpus // (runtime.intra_op_threads or 1)
    workers = runtime.workers or max(1, wanted)
    threads = runtime.intra_op_threads or max(1, cpus // workers)
    return Plan(
        workers=workers,
        intra_op_threads=threads,
        # A thread that spins while it waits for work takes the CPU from the worker next to it.
        shares_cpus=workers > 1 or threads > cpus,
        reasons=(
            reason,
            f"{some(workers, 'worker')}: " + ("set by hand" if runtime.workers else f"profile {runtime.profile!r}"),
            f"{some(threads, 'thread')} in each: " + ("set by hand" if runtime.intra_op_threads else "CPUs per worker"),
        ),
        cpus=cpus,
        workers_by_hand=runtime.workers is not None,
        threads_by_hand=runtime.intra_op_threads is not None,
    )


def fit(plan: Plan, weights: Weights, limit: int | None) -> Plan:
    """The plan with as many workers as memory allows, and the reason added. Raises DoesNotFit.

    Workers that were set by hand are not taken back; too many of them are an error. `limit` is in bytes, None for none.
    """
    if limit is None:
        return replace(plan, reasons=(*plan.reasons, "no memory limit is known"))
    base, each = _BASE_BYTES + weights.shared, _WORKER_BYTES + weights.private
    room = max(0, limit - base) // each
    need = f"{_mib(base)} for the service and shared weights and {_mib(each)} for each worker, of {_mib(limit)}"
    if room >= plan.workers:
        return replace(plan, reasons=(*plan.reasons, f"memory suffices: {need}"))
    if plan.workers_by_hand or not room:
        wanted = plan.workers if plan.workers_by_hand else 1
        raise DoesNotFit(
            f"{some(wanted, 'worker')} cannot fit into memory: {need}; "
            "raise the container's memory limit, lower ONNICORN_RUNTIME__WORKERS, or serve fewer models"
        )
    threads = plan.intra_op_threads if plan.threads_by_hand else max(1, plan.cpus // room)
    reason = (
        f"only {some(room, 'worker')} with {some(threads, 'thread')} each: memory for more workers is missing: {need}"
    )
    return replace(plan, workers=room, intra_op_threads=threads, reasons=(*plan.reasons, reason))


def with_bodies(plan: Plan, admission: Admission, weights: Weights, limit: int | None) -> Plan:
    """The plan, for which there is room, with the bytes of request bodies that each worker may hold, and the reason.

    What was set by hand is kept.
    """
    asked = admission.max_bytes
    if limit is None or "max_bytes" in admission.model_fields_set:
        return replace(plan, body_bytes=asked)
    free = limit - _BASE_BYTES - weights.shared - (_WORKER_BYTES + weights.private) * plan.workers
    most = min(asked, max(_LEAST_BODIES, free // (_TIMES * plan.workers)))
    reason = f"{_mib(most)} of request bodies in each worker"
    if most < asked:
        reason += f": memory for {_mib(asked)} is missing, which with the answers may take {_TIMES} times as much"
    return replace(plan, body_bytes=most, reasons=(*plan.reasons, reason))


def check_room(weights: Weights, workers: int, cgroup: Cgroup | None = None) -> None:
    """Is there memory for more models beside those that are served? Raises DoesNotFit."""
    cgroup = cgroup or Cgroup.of_this_process()
    room = room_left(cgroup)
    needed = weights.shared + weights.private * workers
    if room is not None and needed > room:
        limit = _mib(cgroup.memory_limit() or 0)
        raise DoesNotFit(
            f"the new models need {_mib(needed)} beside those that are served, and of {limit} {_mib(room)} are left: "
            "raise the container's memory limit, or roll the service out anew instead"
        )


def room_left(cgroup: Cgroup) -> int | None:
    """Bytes that the container may still use; None where nobody limits it."""
    limit, used = cgroup.memory_limit(), cgroup.working_set()
    return None if limit is None or used is None else max(0, limit - used)


def plan_for_this_machine(runtime: Runtime) -> Plan:
    return make_plan(runtime, Cgroup.of_this_process(), len(os.sched_getaffinity(0)))


def memory_limit() -> int | None:
    """The container's limit in bytes; None where there is none."""
    return Cgroup.of_this_process().memory_limit()


def _mib(size: int) -> str:
    return f"{math.ceil(size / _MEBIBYTE)} MiB"


def some(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
