"""How long to go on: a few seconds of what is always the same, or FUZZ_SECONDS of what never was before.

`make test` does the former, `make fuzz` the latter. What was tried is counted, and said at the end together with the
last seed; FUZZ_SEED begins with that one again.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

TRIED: Final[Counter[str]] = Counter()
LAST: Final[dict[str, int]] = {}
SECONDS: Final = float(os.environ.get("FUZZ_SECONDS", "0"))
# Four fuzzers go by the clock; the others count, and do in this time about this much.
SHARE: Final = SECONDS / 6
EXAMPLES: Final = int(SHARE * 60) + 1

Rounds = Callable[[str, int], Iterator[random.Random]]

settings.register_profile("test", derandomize=True, max_examples=150, deadline=None, database=None)
settings.register_profile(
    "fuzz",
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz" if SECONDS else "test")


@pytest.fixture
def rounds() -> Rounds:
    """`for chance in rounds("app", 100):` is so many rounds, or as many as there is time for.

    A round's chance is all that there is of chance in it.
    """
    return _rounds


def _rounds(what: str, usual: int) -> Iterator[random.Random]:
    end = time.monotonic() + SHARE
    first = int(os.environ.get("FUZZ_SEED") or (time.time_ns() if SECONDS else 0))
    seed = first
    while time.monotonic() < end if SECONDS else seed < first + usual:
        TRIED[what] += 1
        LAST[what] = seed
        yield random.Random(seed)
        seed += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what, times in TRIED.items():
        seed = f", the last with the seed {LAST[what]}" if what in LAST else ""
        terminalreporter.write_line(f"fuzzed: {times} {what}{seed}")
