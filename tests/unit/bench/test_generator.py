"""The process that drives."""

import multiprocessing
import os
import signal
import time

import pytest

from service.bench.failures import BenchFailed
from service.bench.generator import Generator

EVERY = os.sched_getaffinity(0)


def test_a_function_runs_in_a_process_of_its_own_on_its_cores() -> None:
    core = min(EVERY)
    with Generator() as generator:
        other = generator.on({core}).run(os.getpid)
        assert other != os.getpid()
        assert generator.on({core}).run(os.sched_getaffinity, 0) == {core}
        assert generator.on(EVERY).run(os.sched_getaffinity, 0) == EVERY
        assert generator.on(EVERY).run(os.getpid) == other


def test_what_it_raises_is_raised_here() -> None:
    with Generator() as generator:
        with pytest.raises(ZeroDivisionError):
            generator.on(EVERY).run(divmod, 1, 0)
        assert generator.on(EVERY).run(divmod, 7, 2) == (3, 1)


def test_whoever_waits_may_give_up_and_it_ends_at_once() -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with Generator() as generator:
        other = generator.on(EVERY).run(os.getpid)
        with pytest.raises(KeyboardInterrupt):
            generator.on(EVERY, interrupt).run(time.sleep, 3600)
    with pytest.raises(ProcessLookupError):
        os.kill(other, 0)


def test_its_death_is_a_sentence() -> None:
    with Generator() as generator, pytest.raises(BenchFailed, match="the load generator has died"):
        generator.on(EVERY).run(os.abort)


def test_signals_to_a_whole_group_leave_its_end_to_whoever_has_started_it() -> None:
    with Generator() as generator:
        [child] = multiprocessing.active_children()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(child.pid or 0, number)  # while it is still importing
        other = generator.on(EVERY).run(os.getpid)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(other, number)
        assert generator.on(EVERY).run(os.getpid) == other == child.pid
