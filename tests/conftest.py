"""What all tests share: the repository of tiny models."""

from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of every servable tiny model."""
    return tiny.repository(tmp_path_factory.mktemp("models"), **tiny.servable())
