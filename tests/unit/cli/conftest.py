"""The command in this process: its words, its exit code, and a cache and a repository of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from service.cli import main
from tests import tiny

Onnicorn = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of one model."""
    return tiny.repository(tmp_path / "models", cat=tiny.double())


@pytest.fixture
def onnicorn(root: Path, tmp_path: Path) -> Iterator[Onnicorn]:
    """`onnicorn("plan", "--json", RUNTIME__WORKERS="2")`: the result, never an exception."""

    def run(*arguments: str, **variables: object) -> Result:
        given = {"REPOSITORY__PATH": root, "CACHE__DIR": tmp_path / "cache"} | variables
        environment = {f"ONNICORN_{name}": str(value) for name, value in given.items()}
        result = CliRunner().invoke(main, arguments, env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    yield run
    structlog.reset_defaults()
