"""The floors of the design and the house rules, held against the syntax trees of the service."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import service
from tools.floors import FLOORS, PICTURE, PILLARS, STALE, Sources, imports, read_sources, render, room, rooms_of

Rule = Callable[[str, str], Iterator[str]]

READ_THE_ENVIRONMENT = (
    "service",
    "service.asgi",
    "service.cli",
    "service.settings",
    "service.supervision",
)
# Libraries that have a home: whoever replaces one shall not have to look for it.
HOMES = {
    "click": ("service.cli",),
    "fastapi": ("service.web",),
    "fsspec": ("service.fetch",),
    "google": ("service.engine",),
    "gunicorn": ("service.supervision",),
    "onnxruntime": ("service.engine",),
    "prometheus_client": ("service.telemetry",),
    "pydantic_settings": ("service.settings",),
    "simdjson": ("service.protocol",),
    "starlette": ("service.web", "service.supervision"),
    "uvicorn": ("service.supervision",),
    "uvicorn_worker": ("service.supervision",),
}
MAX_FUNCTION = 60
MAX_FILE = 300


SOURCES = read_sources(Path(service.__file__).parent)


def climbs(sources: Sources) -> Iterator[str]:
    """Each import that does not go downwards, and each module that stands on no floor."""
    rooms = rooms_of(sources)
    yield from (f"service.{name} stands on no floor" for name in sorted(rooms - FLOORS.keys()))
    for module, source in sources.items():
        for target in imports(source):
            if target.startswith("."):
                yield f"{module} imports relatively"
            elif target.partition(".")[0] == "service" and not _may(room(module, rooms), room(target, rooms)):
                yield f"{module} imports {target}"


def _may(here: str, there: str) -> bool:
    ours, theirs = FLOORS.get(here, -1), FLOORS.get(there, -1)
    return here == there or theirs < ours or ours == theirs != PILLARS


def undescribed(module: str, source: str) -> Iterator[str]:
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    if not re.fullmatch(r"[A-Z`].*\w.*[.]", first):
        yield f"{module}: the docstring does not begin with a sentence: {first!r}"


def long_functions(module: str, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > MAX_FUNCTION:
                yield f"{module}: {node.name} has {lines} lines"


def long_files(module: str, source: str) -> Iterator[str]:
    if (lines := source.count("\n")) > MAX_FILE:
        yield f"{module} has {lines} lines"


def framework_middleware(module: str, source: str) -> Iterator[str]:
    """It loses context variables, hides disconnects and costs twice the CPU."""
    if "BaseHTTPMiddleware" in _words(ast.parse(source)):
        yield f"{module} uses BaseHTTPMiddleware"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {word for decorator in node.decorator_list for word in _words(decorator)}
            if "middleware" in decorators:
                yield f"{module}: {node.name} is a @middleware"


def environment(module: str, source: str) -> Iterator[str]:
    allowed = module in READ_THE_ENVIRONMENT or _is_below(module, ("service.cli", "service.supervision"))
    if not allowed and {"environ", "getenv", "putenv"} & set(_words(ast.parse(source))):
        yield f"{module} reads the environment"


def printing(module: str, source: str) -> Iterator[str]:
    if "print" in _words(ast.parse(source)):
        yield f"{module} prints"


def strayed(module: str, source: str) -> Iterator[str]:
    for target in imports(source):
        library = target.partition(".")[0]
        if library in HOMES and not _is_below(module, HOMES[library]):
            yield f"{module} imports {library}"


def _is_below(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def _words(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


RULES: tuple[Rule, ...] = (
    undescribed, long_functions, long_files, framework_middleware, environment, printing, strayed,
)  # fmt: skip


def test_all_modules_are_looked_at() -> None:
    assert {"service", "service.asgi", "service.errors", "service.engine", "service.engine.graph"} <= SOURCES.keys()


def test_a_module_imports_only_from_floors_below_it() -> None:
    assert list(climbs(SOURCES)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("service.plan", "from service.knobs import Runtime"),
        ("service.engine.model", "from service.engine import graph"),
        ("service.engine.model", "import service.errors"),
        ("service.web.app", "from service import __version__, dataplane"),
        ("service.loading", "from service.engine.cache import Cache"),
        ("service.web.app", "from service.loading import load"),
        ("service.cli.plan", "from service.loading import weights"),
        ("service.cli.bench", "from service.bench.trial import Trial"),
        ("service.asgi", "from service.supervision.seat import seat"),
        ("service.errors", "import json, services.web\nfrom servicing import web"),
    ],
)
def test_an_import_downwards_or_within_is_allowed(module: str, source: str) -> None:
    assert list(climbs(dict.fromkeys(SOURCES, "") | {module: source})) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("service", "import service.errors", "service imports service.errors"),
        ("service.errors", "from service import tensors", "service.errors imports service.tensors"),
        ("service.board", "import service.web.app", "service.board imports service.web.app"),
        (
            "service.engine.model",
            "from service.protocol.v2 import decode",
            "service.engine.model imports service.protocol.v2.decode",
        ),
        (
            "service.telemetry.logs",
            "def f():\n    from service import dataplane",
            "service.telemetry.logs imports service.dataplane",
        ),
        ("service.engine.cache", "import service.loading", "service.engine.cache imports service.loading"),
        ("service.loading", "from service.cli import main", "service.loading imports service.cli.main"),
        ("service.web.app", "from service.cli import main", "service.web.app imports service.cli.main"),
        ("service.web.app", "from service.bench import load", "service.web.app imports service.bench.load"),
        ("service.dataplane", "from service.web import body", "service.dataplane imports service.web.body"),
        ("service.web.app", "from service import supervision", "service.web.app imports service.supervision"),
        ("service.web.app", "from . import body", "service.web.app imports relatively"),
        ("service.utils", "", "service.utils stands on no floor"),
    ],
)
def test_an_import_upwards_or_sideways_is_found(module: str, source: str, complaint: str) -> None:
    assert list(climbs(dict.fromkeys(SOURCES, "") | {module: source})) == [complaint]


def test_the_picture_is_the_codes() -> None:
    assert PICTURE.read_text() == render(SOURCES), STALE


def test_a_picture_shows_rooms_and_how_many_imports_lead_where() -> None:
    sources = {
        "service": "",
        "service.errors": "",
        "service.web": "",
        "service.web.app": "from service.errors import A",
    }
    picture = render(sources | {"service.plan": "from service import errors\nfrom service.errors import A, B"})
    assert [line for line in picture.splitlines() if "</title>" in line] == [
        '<title id="title">The floors of the service and the imports between them, all of which lead down: '
        "1 from 4 to 0, 1 from 1 to 0</title>"
    ]
    assert ">web/</text>" in picture
    assert ">2 modules</text>" in picture
    assert ">plan</text>" in picture


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_service_keeps_the_rule(rule: Rule) -> None:
    assert [complaint for module, source in SOURCES.items() for complaint in rule(module, source)] == []


LONG = "def f():\n" + "    pass\n" * 60
METHOD = "@app.middleware('http')\nasync def f(): ..."


@pytest.mark.parametrize(
    ("rule", "module", "source", "complaints"),
    [
        (undescribed, "m", "x = 1", ["m: the docstring does not begin with a sentence: ''"]),
        (undescribed, "m", '"""no capital."""', ["m: the docstring does not begin with a sentence: 'no capital.'"]),
        (undescribed, "m", '"""No\nend."""', ["m: the docstring does not begin with a sentence: 'No'"]),
        (undescribed, "m", '"""A sentence.\n\nand more"""', []),
        (long_functions, "m", LONG, ["m: f has 61 lines"]),
        (long_functions, "m", "async " + LONG, ["m: f has 61 lines"]),
        (long_functions, "m", LONG.removesuffix("    pass\n"), []),
        (long_files, "m", "\n" * 301, ["m has 301 lines"]),
        (long_files, "m", "\n" * 300, []),
        (framework_middleware, "m", "class A(web.BaseHTTPMiddleware): ...", ["m uses BaseHTTPMiddleware"]),
        (framework_middleware, "m", "from x import BaseHTTPMiddleware", ["m uses BaseHTTPMiddleware"]),
        (framework_middleware, "m", METHOD, ["m: f is a @middleware"]),
        (framework_middleware, "m", "from starlette import middleware", []),
        (environment, "m", "import os\nos.environ", ["m reads the environment"]),
        (environment, "m", "from os import getenv", ["m reads the environment"]),
        (environment, "service.settings", "os.environ", []),
        (environment, "service.supervision.ops", "os.environ", []),
        (environment, "service.cli", "os.environ", []),
        (environment, "service.cli.plan", "os.environ", []),
        (environment, "service.client", "os.environ", ["service.client reads the environment"]),
        (environment, "service.telemetry", "os.environ", ["service.telemetry reads the environment"]),
        (printing, "m", "if True:\n    print(1)", ["m prints"]),
        (printing, "m", "'print'", []),
        (strayed, "service.cli.plan", "import click", []),
        (strayed, "service.cli", "from click.testing import CliRunner", []),
        (strayed, "service.web.app", "import click", ["service.web.app imports click"]),
        (strayed, "service.settings", "from click import echo", ["service.settings imports click"]),
        (strayed, "service.client", "import click", ["service.client imports click"]),
        (strayed, "service.supervision.ops", "from starlette.routing import Route\nimport numpy", []),
    ],
)
def test_a_rule_finds_who_breaks_it(rule: Rule, module: str, source: str, complaints: list[str]) -> None:
    assert list(rule(module, source)) == complaints
