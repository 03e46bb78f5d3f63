"""The programs of a rehearsal: the checkout's own service, HAProxy, Prometheus, each with a log in one folder."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from service.bench.program import OPENER, Program, answers, free_ports
from service.bench.program import ProgramFailed as Failed
from service.bench.program import running as started

__all__ = ["OPENER", "ROOT", "Failed", "Program", "answers", "free_ports", "running"]

ROOT: Final = Path(__file__).parent.parent
# What a developer has set for another service.
_OTHERS: Final = ("ONNICORN_", "GUNICORN_")


def running(name: str, command: Sequence[str], folder: Path, **environment: str) -> AbstractContextManager[Program]:
    """While the block runs, in the checkout."""
    return started(name, command, folder / f"{name}.log", _inherited() | environment, ROOT)


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
