"""Real Chromium, without a window, before a real service."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import tiny
from tests.deploy.programs import program
from tests.process.conftest import ROOT, SECONDS, Service, running
from tests.transforms import LISTS

DESKTOP, PHONE = 1280, 360
ALONE = {"ONNICORN_RUNTIME__WORKERS": "1"}
TOLERANT = {"ONNICORN_REPOSITORY__TOLERATE_FAILURES": "true"}
Visit = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Ended with the package: until then its event loop is in the way of every other in this thread."""
    path = program("chromium", "chromium")
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path) as browser:
        yield browser


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model of digits, a few others, one with a transform, and one that is refused."""
    root = tiny.repository(
        tmp_path_factory.mktemp("pages"),
        add_sub=tiny.add_sub(),
        identity_bytes=tiny.identity("BYTES"),
        identity_int64=tiny.identity("INT64"),
        lists=tiny.double(),
        scalar=tiny.scalar(),
    )
    (root / "lists" / "transform.py").write_text(LISTS)
    (root / "lists" / "1" / "golden").mkdir()
    (root / "lists" / "1" / "golden" / "one.json").write_text(
        '{"instances": [[1, 2, 3, 4]], "predictions": [[2, 4, 6, 8]]}'
    )
    copytree(ROOT / "models" / "digits", root / "digits", ignore=ignore_patterns("train.py"))
    (root / "broken" / "1").mkdir(parents=True)
    (root / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    return root


@pytest.fixture(scope="package")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(models, tmp_path_factory.mktemp("service"), **ALONE, **TOLERANT) as service:
        yield service


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.repository(tmp_path_factory.mktemp("small"), add_sub=tiny.add_sub())


@pytest.fixture(scope="package")
def prefixed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A small service below /ml."""
    with running(small, tmp_path_factory.mktemp("prefixed"), **ALONE, ONNICORN_HTTP__ROOT_PATH="/ml") as service:
        yield service


@pytest.fixture
def visit(chromium: Browser, served: Service) -> Visit:
    """`with visit("/docs", color_scheme="dark") as page`: a page of the service that all tests share."""
    return lambda path, **settings: visiting(chromium, served.api, path, **settings)


@contextmanager
def visiting(
    chromium: Browser, address: str, path: str, width: int = DESKTOP, expected: str = "", **settings: Any
) -> Iterator[Page]:
    """A page in a browser that knows nothing yet.

    Whatever it complains about in the end, broken policies included, fails the test, and so does a request to any other
    origin; but for complaints that have the text that is `expected`.
    """
    origin = f"http://{address}"
    complaints: list[str] = []
    with chromium.new_context(viewport={"width": width, "height": 900}, **settings) as context:
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((f"{origin}/", "data:", "blob:")) else complaints.append(request.url)
            ),
        )
        page.goto(origin + path)
        yield page
    assert [complaint for complaint in complaints if not expected or expected not in complaint] == []
