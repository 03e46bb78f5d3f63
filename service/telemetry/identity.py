"""Whose metric files are whose.

prometheus_client names a process's files by its pid, so files would pile up as workers come and go. Ours are named by
what the process is: `master`, `ops`, or a worker's slot, which its successor takes over together with the counts.
"""

import os
from pathlib import Path

_process = "master"


def become(process: str) -> None:
    """After a fork: what this process is from now on."""
    global _process
    _process = process


def keep_metrics_in(directory: Path) -> None:
    """Before prometheus_client is imported for the first time: it chooses its kind of value at import."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: _process)  # type: ignore[no-untyped-call]
