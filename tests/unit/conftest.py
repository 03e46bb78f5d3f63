"""What the unit tests share: the log as a list or as text, and every servable tiny model loaded once."""

import io
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from service.engine.cache import Cache
from service.engine.catalogue import Catalogue
from service.engine.generation import make_generation
from service.engine.session import Compute

# What `logs.configure` takes over.
ADOPTED = ("", "gunicorn.error", "gunicorn.access", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio")
REPLACED: tuple[tuple[Any, str], ...] = ((sys, "stderr"), (sys, "excepthook"), (threading, "excepthook"))


@pytest.fixture
def records() -> Iterator[list[EventDict]]:
    """What our own code logs while the test runs."""
    with capture_logs() as records:
        yield records


@pytest.fixture(scope="session")
def catalogue(repository: Path, cache_dir: Path) -> Catalogue:
    """The repository of tiny models, prepared and loaded."""
    cache = Cache(cache_dir, keep_days=7)
    manifest = make_generation(repository, None, Compute(), cache, number=1, tolerate_failures=False)
    return Catalogue.load(manifest, Compute())


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """For `logs.configure` to write to; after the test all that it touches is as it was before."""
    loggers = [logging.getLogger(name) for name in ADOPTED]
    before = [(logger, logger.handlers, logger.filters, logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.filters = []
    for module, name in REPLACED:
        monkeypatch.setattr(module, name, getattr(module, name))
    yield io.StringIO()
    logging.captureWarnings(False)
    structlog.reset_defaults()
    for logger, handlers, filters, propagate, level in before:
        logger.handlers, logger.filters, logger.propagate = handlers, filters, propagate
        logger.setLevel(level)
