"""The floors of the service, and a picture of them made from the code: `python -m tools.floors [--check]`.

A module imports only from its own floor and from those below it, and the packages on floor 2 do not know one another;
tests/unit/test_floors.py holds that. The picture counts what is imported: each pair of modules is one import.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import service
from tools.drawing import draw

Sources = Mapping[str, str]

PICTURE: Final = Path(__file__).parent.parent / "docs" / "pictures" / "floors.svg"
STALE: Final = f"{PICTURE.name} is not the code's any more: run `python -m tools.floors`"

# The package itself, "", is below all.
FLOORS: Final = {
    "": -1,
    **dict.fromkeys(("errors", "quoting"), 0),
    **dict.fromkeys(
        (
            "tensors",
            "deadline",
            "caller",
            "elements",
            "wording",
            "settings",
            "knobs",
            "plan",
            "cgroup",
            "background",
            "memory",
            "process",
            "addresses",
            "access",
        ),
        1,
    ),
    **dict.fromkeys(("rows", "board", "seat", "wishes", "outcomes"), 1),
    **dict.fromkeys(("engine", "scheduling", "protocol", "telemetry"), 2),
    **dict.fromkeys(("dataplane", "generations", "lane", "fetch", "loading", "staging", "watchdog"), 3),
    "web": 4,
    **dict.fromkeys(("asgi", "bench", "cli", "supervision"), 5),
}
PILLARS: Final = 2
"""The floor whose packages do not know one another."""

TITLES: Final = {
    5: "entrances: the app object, Gunicorn's processes, commands, measuring",
    4: "HTTP: routes, middleware, the one table of status numbers",
    3: "what the service does, without HTTP",
    2: "four pillars that do not know one another",
    1: "what is computed with, granted, set, and shown to the others",
    0: "everything that can go wrong",
}


def main(arguments: list[str]) -> int:
    picture = render(read_sources(Path(service.__file__).parent))
    if arguments == ["--check"]:
        if PICTURE.read_text() == picture:
            return 0
        print(STALE, file=sys.stderr)
        return 1
    PICTURE.write_text(picture)
    return 0


def read_sources(package: Path) -> dict[str, str]:
    """Every module of a package, by its dotted name."""
    modules = {path.relative_to(package.parent).with_suffix(""): path for path in sorted(package.rglob("*.py"))}
    return {".".join(name.parts).removesuffix(".__init__"): path.read_text() for name, path in modules.items()}


def imports(source: str) -> Iterator[str]:
    """What is imported anywhere in it; `from service import board` is `service.board`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def room(module: str, rooms: frozenset[str]) -> str:
    """The module or package directly below `service` that a dotted name lies in; "" for the package itself."""
    part = module.partition(".")[2].partition(".")[0]
    return part if part in rooms else ""


def rooms_of(sources: Sources) -> frozenset[str]:
    return frozenset(module.split(".")[1] for module in sources if "." in module)


def render(sources: Sources) -> str:
    rooms = rooms_of(sources)
    sizes = Counter(room(module, rooms) for module in sources)
    floors = {
        floor: (title, {name: sizes[name] for name in sorted(rooms) if FLOORS.get(name) == floor})
        for floor, title in TITLES.items()
    }
    return draw(floors, stairs(sources, rooms))


def stairs(sources: Sources, rooms: frozenset[str]) -> Counter[tuple[int, int]]:
    """How many imports lead from one floor to another."""
    pairs = {(module, target) for module, source in sources.items() for target in _modules(source, sources)}
    steps = Counter((FLOORS[room(module, rooms)], FLOORS[room(target, rooms)]) for module, target in pairs)
    return Counter({(above, below): count for (above, below), count in steps.items() if above != below >= 0})


def _modules(source: str, sources: Sources) -> Iterator[str]:
    """Which of our modules it imports, or imports from."""
    for target in imports(source):
        if target in sources:
            yield target
        elif (parent := target.rpartition(".")[0]) in sources:
            yield parent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
