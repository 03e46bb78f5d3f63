"""What a contributor is told is so: files, names in them, commands, and what `make help` lists."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import __version__

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
ENDINGS = ("md", "py", "toml", "txt", "yml", "yaml")


def paths(text: str) -> Iterator[str]:
    """What stands in code or behind a link and looks like a path of ours."""
    for word in re.findall(r"`([^`\n]+)`|\]\(([^)\n#]+)\)|^\$ .* (tests/\S+)$", text, re.MULTILINE):
        path = "".join(word)
        if re.fullmatch(r"\.?\w[\w./-]*", path) and ("/" in path or path.endswith(ENDINGS)):
            yield path


def wrong(text: str) -> Iterator[str]:
    """Each thing that a text names and that is not there."""
    for path in paths(text):
        if not (ROOT / path).exists():
            yield f"there is no {path}"
    for name, path in re.findall(r"`(\w+)`\s+in\s+`([^`]+)`", text):
        if not re.search(rf"\b{name}\b", (ROOT / path).read_text()):
            yield f"{path} has no {name}"
    for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", text):
        if target not in TARGETS:
            yield f"there is no target {target}"
    for module in re.findall(r"python -m ([\w.]+)", text):
        if importlib.util.find_spec(module) is None:
            yield f"there is no module {module}"


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_what_is_named_is_there(name: str) -> None:
    assert list(wrong((ROOT / name).read_text())) == []


def test_paths_are_seen_wherever_they_stand() -> None:
    text = "`service/board.py` [a](README.md) `.ci/run` `x = 1` `.venv` (https://a.example/b)\n$ python tests/web\n"
    assert list(paths(text)) == ["service/board.py", "README.md", ".ci/run", "tests/web"]
    assert len(list(paths(GUIDE))) > 50


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("`service/bored.py`", "there is no service/bored.py"),
        ("[a](READ.md)", "there is no READ.md"),
        ("`Bored` in `service/board.py`", "service/board.py has no Bored"),
        ("`make hay`", "there is no target hay"),
        ("$ make hay", "there is no target hay"),
        ("$ python -m tools_of_others", "there is no module tools_of_others"),
    ],
)
def test_what_is_not_there_is_found(text: str, complaint: str) -> None:
    assert list(wrong(text)) == [complaint]


def test_help_lists_every_target_and_the_two_commands_first() -> None:
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert phony
    targets = re.findall(r"^  make ([a-z-]+) ", listed, re.MULTILINE)
    assert targets[:2] == ["run", "test"]
    assert sorted(targets) == sorted(phony[1].split())


def test_the_changelog_knows_the_version() -> None:
    first, *released = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first == "Unreleased"
    assert __version__ in released[:1] or f"becomes {__version__}" in (ROOT / "CHANGELOG.md").read_text()
