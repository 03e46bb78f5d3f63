"""The app in this process: its lifespan runs, its models are loaded, nothing is replaced."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.settings import Settings
from service.web.app import create_app
from tests import tiny

Serve = Callable[..., AbstractContextManager[TestClient]]

SMALL_BODY = 65_536


@contextmanager
def _serve(models: Path, cache_dir: Path, **groups: Any) -> Iterator[TestClient]:
    groups = {"repository": {"path": str(models)}, "cache": {"dir": str(cache_dir)}} | groups
    app = create_app(Settings(**groups))
    # The client's own default asks for compression, which is then seen by no test.
    with TestClient(app, headers={"Accept-Encoding": "identity"}) as client:
        yield client


@pytest.fixture
def serve(cache_dir: Path) -> Serve:
    """`with serve(repository, http={...}) as client`: an app with other models or settings."""
    return lambda models, **groups: _serve(models, cache_dir, **groups)


@pytest.fixture(scope="session")
def client(repository: Path, cache_dir: Path) -> Iterator[TestClient]:
    """A client of all tiny models under the default settings."""
    with _serve(repository, cache_dir) as client:
        yield client


@pytest.fixture(scope="session")
def small_client(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[TestClient]:
    """A client of a server that takes bodies of `SMALL_BODY` bytes and no more."""
    models = tiny.repository(tmp_path_factory.mktemp("small"), identity_bytes=tiny.identity("BYTES"))
    with _serve(models, cache_dir, http={"max_body_bytes": SMALL_BODY}) as client:
        yield client
