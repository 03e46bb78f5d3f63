"""What this machine really grants, and what we make of it."""

import math
import os
from dataclasses import dataclass

from service.cgroup import Cgroup
from service.settings import Runtime


@dataclass(frozen=True, slots=True)
class Plan:
    """How many workers, how many threads inside each one's operators, and why."""

    workers: int
    intra_op_threads: int
    shares_cpus: bool
    reasons: tuple[str, ...]


def granted_cpus(cgroup: Cgroup, affinity: int) -> tuple[int, str]:
    """Whole CPUs that we may keep busy, and the reason.

    A quota of 1.5 CPUs is used by two threads that are throttled now and then; a quota of 2.1 by two that never are.
    """
    quota = cgroup.cpus()
    if quota is None or quota >= affinity:
        return affinity, f"{affinity} CPUs: the process may run on so many, and no cgroup quota is tighter"
    cpus = max(1, math.ceil(quota - 0.25))
    return cpus, f"{cpus} CPUs: the cgroup quota grants {quota:g} of the {affinity} that the process may run on"


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
            f"{workers} workers: " + ("set by hand" if runtime.workers else f"profile {runtime.profile!r}"),
            f"{threads} threads in each: " + ("set by hand" if runtime.intra_op_threads else "CPUs per worker"),
        ),
    )


def plan_for_this_machine(runtime: Runtime) -> Plan:
    return make_plan(runtime, Cgroup.of_this_process(), len(os.sched_getaffinity(0)))
