"""How long to go on: a few seconds of what is always the same, or FUZZ_SECONDS of what never was before.

`make test` does the former, `make fuzz` the latter. What was tried is counted, and said at the end.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

SECONDS: Final = float(os.environ.get("FUZZ_SECONDS", "0"))
TRIED: Final[Counter[str]] = Counter()

Rounds = Callable[[str, int], Iterator[random.Random]]

settings.register_profile("test", derandomize=True, max_examples=150, deadline=None, database=None)
settings.register_profile(
    "fuzz",
    max_examples=int(SECONDS * 20) + 1,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz" if SECONDS else "test")


@pytest.fixture
def rounds() -> Rounds:
    """`for chance in rounds("app", 100):` is so many rounds, or as many as there is time for.

    A round's chance is all that there is of chance in it, and its seed is in the message where it fails.
    """
    return _rounds


def _rounds(what: str, usual: int) -> Iterator[random.Random]:
    end = time.monotonic() + SECONDS
    first = time.time_ns() if SECONDS else 0
    seed = first
    while time.monotonic() < end if SECONDS else seed < usual:
        try:
            yield random.Random(seed)
        except GeneratorExit:
            TRIED[f"{what}: a round failed, its seed was {seed}"] = 1
            raise
        seed += 1
        TRIED[what] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what, times in TRIED.items():
        terminalreporter.write_line(f"fuzzed {what}: {times}")
