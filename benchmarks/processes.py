"""Processes that run what is compared."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor


def process_on(core: int) -> ProcessPoolExecutor:
    """A process of its own that stays on one core. Spawned: a fork would take ONNX Runtime's threads for alive."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), os.sched_setaffinity, (0, {core}))
