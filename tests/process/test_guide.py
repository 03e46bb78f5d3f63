"""The guide is followed word by word: every page from top to bottom, in an empty home, against real services."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.programs import output
from tests.process.conftest import ROOT
from tests.process.snippets import Block, blocks, pages, parts
from tests.process.stranger import stranger


def every_part() -> Iterator[object]:
    for page in pages():
        for number, part in enumerate(parts(page), 1):
            yield pytest.param(part, id=f"{page.stem}-{number}")


@pytest.mark.parametrize("part", [*every_part()])
def test_a_page_does_what_it_says(part: list[Block], tmp_path: Path) -> None:
    with stranger(tmp_path) as somebody:
        for block in part:
            somebody.follow(block)


# Nobody hides a block: each that is not run is listed here, by its page and its first line.
NOT_RUN = {
    "first-model.md": [
        "$ pip install torch onnx onnxscript",
        "$ cd ~/onnicorn && cp -r ~/tumours/models tumours",
        "$ kubectl apply -k ~/tumours/overlay",
    ],
    "index.md": ["$ python3 -m venv ~/serving"],
    "moving.md": ["$ pip install tensorflow tf2onnx", "import json"],
    "operating.md": ["$ kubectl apply -k ~/onnicorn/k8s/overlays/prod"],
    "security.md": [
        "$ docker run --read-only --cap-drop ALL --security-opt no-new-privileges --publish 8000:8000 onnicorn"
    ],
}


def test_what_is_not_run_is_listed() -> None:
    found = {page.name: [block.text.splitlines()[0] for block in blocks(page) if block.reason] for page in pages()}
    assert {page: lines for page, lines in found.items() if lines} == NOT_RUN


def test_a_note_says_what_it_means() -> None:
    notes = {block.place: block.note for page in pages() for block in blocks(page)}
    assert [place for place, note in notes.items() if not re.fullmatch(r"|not run: \S.+|needs: \w+", note)] == []


@pytest.mark.parametrize("block", [block for page in pages() for block in blocks(page) if block.reason])
def test_what_is_not_run_is_at_least_a_shells_or_pythons(block: Block) -> None:
    assert block.language in ("console", "python"), block.place
    if block.language == "python":
        compile(block.text, block.place, "exec")
    for command in block.commands:
        output("bash", "-n", "-c", command.text)


def test_files_of_the_checkout_that_are_named_are_there() -> None:
    """In blocks that are not run, too."""
    named = {
        path
        for page in pages()
        for block in blocks(page)
        for path in re.findall(r"~/onnicorn/([\w./-]*\w)", block.text)
    }
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
