"""The guide is true where nothing needs to be run: its links lead somewhere, its list of log lines is the code's."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from service.engine.declaration import Declaration, SessionOptions
from service.errors import StartError
from service.outcomes import RESULTS
from tests.process.conftest import ROOT
from tests.process.snippets import GUIDE
from tests.unit.test_floors import SOURCES

PAGES = [*sorted(GUIDE.glob("*.md")), ROOT / "README.md", ROOT / "k8s" / "README.md", ROOT / "deploy" / "RUNBOOK.md"]
# Events whose names are put together, or handed to a function, where they are logged.
NAMED_ELSEWHERE = {"worker_exited", "run_terminated", "run_stuck", *(f"reload_{result}" for result in RESULTS)}
_LEVELS = {"info", "warning", "error", "exception", "critical"}


def links(page: Path) -> Iterator[str]:
    """Those to other files and headings of this repository; what stands in code is none."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    yield from (link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    pages = {page.name for page in GUIDE.glob("*.md")} - {"index.md"}
    assert pages <= set(links(GUIDE / "index.md"))


def test_every_key_of_model_toml_is_explained() -> None:
    (example,) = re.findall(r"^```toml [^\n]*\n(.*?)^```$", (GUIDE / "models.md").read_text(), re.DOTALL | re.MULTILINE)
    tables = tomllib.loads(example)
    assert tables.keys() == Declaration.model_fields.keys()
    assert Declaration.model_validate(tables)
    assert tables["session"].keys() == SessionOptions.model_fields.keys()


def logged(source: str) -> Iterator[str]:
    """The events that a module logs at a level that is written by default."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(ast.Attribute(ast.Name("log"), level), [ast.Constant(str(event)), *_]) if level in _LEVELS:
                yield event


def start_errors(kind: type[StartError] = StartError) -> Iterator[str]:
    """Those of the service; what a command cannot do it says by itself."""
    for error in kind.__subclasses__():
        if not error.__module__.startswith(("service.bench", "service.cli", "service.fetch")):
            yield error.code
        yield from start_errors(error)


def test_every_log_line_is_explained() -> None:
    for module in (module for module, source in SOURCES.items() if "(StartError):" in source):
        import_module(module)
    written = {event for source in SOURCES.values() for event in logged(source)}
    table = (GUIDE / "operating.md").read_text().partition("<!-- events -->")[2].partition("<!-- /events -->")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    explained = {event for row in rows for event in re.findall(r"`(\w+)`", row)}
    assert explained == (written | NAMED_ELSEWHERE | {*start_errors()}) - {"reload_committed"}
