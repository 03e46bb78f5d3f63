"""What is made of a machine: workers and threads, and the reasons."""

import os
from pathlib import Path
from typing import Any

import pytest

from service.cgroup import Cgroup
from service.knobs import Runtime
from service.plan import Plan, granted_cpus, make_plan, plan_for_this_machine

NO_QUOTA = "8 CPUs: the process may run on so many, and no cgroup quota is tighter"


def quota(tmp_path: Path, cpus: float | None) -> Cgroup:
    """The control group of a container that may use so many CPUs."""
    if cpus is not None:
        (tmp_path / "cpu.max").write_text(f"{round(cpus * 100_000)} 100000")
    return Cgroup((tmp_path,), (tmp_path,), (tmp_path,))


@pytest.mark.parametrize(
    ("cpus", "affinity", "granted", "reason"),
    [
        (None, 8, 8, NO_QUOTA),
        (8, 8, 8, NO_QUOTA),
        (16, 8, 8, NO_QUOTA),
        (4, 8, 4, "4 CPUs: the cgroup quota grants 4 of the 8 that the process may run on"),
        (1.5, 8, 2, "2 CPUs: the cgroup quota grants 1.5 of the 8 that the process may run on"),
        (2.25, 8, 2, "2 CPUs: the cgroup quota grants 2.25 of the 8 that the process may run on"),
        (2.26, 8, 3, "3 CPUs: the cgroup quota grants 2.26 of the 8 that the process may run on"),
        (0.1, 8, 1, "1 CPU: the cgroup quota grants 0.1 of the 8 that the process may run on"),
    ],
)
def test_a_quota_is_rounded_to_whole_cpus(
    tmp_path: Path, cpus: float | None, affinity: int, granted: int, reason: str
) -> None:
    assert granted_cpus(quota(tmp_path, cpus), affinity) == (granted, reason)


@pytest.mark.parametrize(
    ("runtime", "workers", "threads", "shares", "reasons"),
    [
        ({}, 8, 1, True, ("8 workers: profile 'throughput'", "1 thread in each: CPUs per worker")),
        ({"profile": "latency"}, 1, 8, False, ("1 worker: profile 'latency'", "8 threads in each: CPUs per worker")),
        ({"workers": 2}, 2, 4, True, ("2 workers: set by hand", "4 threads in each: CPUs per worker")),
        ({"workers": 9}, 9, 1, True, ("9 workers: set by hand", "1 thread in each: CPUs per worker")),
        ({"intra_op_threads": 4}, 2, 4, True, ("2 workers: profile 'throughput'", "4 threads in each: set by hand")),
        ({"intra_op_threads": 9}, 1, 9, True, ("1 worker: profile 'throughput'", "9 threads in each: set by hand")),
        (
            {"workers": 1, "intra_op_threads": 8},
            1, 8, False, ("1 worker: set by hand", "8 threads in each: set by hand"),
        ),
        (
            {"profile": "latency", "workers": 3},
            3, 2, True, ("3 workers: set by hand", "2 threads in each: CPUs per worker"),
        ),
    ],
)  # fmt: skip
def test_workers_times_threads_meets_the_cpus(
    tmp_path: Path, runtime: dict[str, Any], workers: int, threads: int, shares: bool, reasons: tuple[str, str]
) -> None:
    plan = make_plan(Runtime(**runtime), quota(tmp_path, None), 8)
    assert plan == Plan(
        workers,
        threads,
        shares,
        (NO_QUOTA, *reasons),
        cpus=8,
        workers_by_hand="workers" in runtime,
        threads_by_hand="intra_op_threads" in runtime,
    )


def test_a_single_cpu_gets_one_worker_that_shares_with_nobody(tmp_path: Path) -> None:
    plan = make_plan(Runtime(), quota(tmp_path, 0.5), 8)
    assert (plan.workers, plan.intra_op_threads, plan.shares_cpus) == (1, 1, False)


def test_this_machine_gets_a_plan_within_its_cpus() -> None:
    plan = plan_for_this_machine(Runtime())
    assert 1 <= plan.workers * plan.intra_op_threads <= len(os.sched_getaffinity(0))
