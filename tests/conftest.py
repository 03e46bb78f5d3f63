"""What all tests share: the repository of tiny models, and where the large ones lie."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import tiny

LARGE_MODELS = "ONNICORN_TEST_MODELS"
LEFT_OUT = f"the large models were left out: set {LARGE_MODELS} to the directory that has them"
NO_TORCH = "the guide's PyTorch part was left out: no Python here has torch (on Debian: apt install python3-torch)"


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of every servable tiny model."""
    return tiny.repository(tmp_path_factory.mktemp("models"), **tiny.servable())


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where prepared models are kept for as long as the tests run, and not in anybody's home."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def large_models() -> Path:
    """The directory of real models, which are too large for this repository."""
    given = os.environ.get(LARGE_MODELS)
    if not given:
        pytest.skip(LEFT_OUT)
    path = Path(given)
    assert path.is_dir(), f"{LARGE_MODELS}={given} is no directory"
    return path


# The outermost, so that its line is the last one.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """Nobody shall take a run without the large models, or without PyTorch, for a whole one."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    for reason in (NO_TORCH, LEFT_OUT):
        if any(reason in str(report.longrepr) for report in skipped):
            terminalreporter.write_line(reason, yellow=True)
