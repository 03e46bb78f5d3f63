"""The guide is followed word by word: every page from top to bottom, in an empty home, against real services."""

import re
import tomllib
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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("$ echo one\ntwo\n", "echo one\nprinted:\none"),
        ("$ echo one\n$ false\n", "false\nended with 1"),
        ("$ echo one two\none\n", "echo one two\nprinted"),
        ("no command\n", "expected lines that begin"),
    ],
)
def test_what_is_not_as_a_page_says_is_found(tmp_path: Path, text: str, complaint: str) -> None:
    with stranger(tmp_path) as somebody, pytest.raises(AssertionError) as caught:
        somebody.follow(Block("page.md:1", "console", "", text))
    assert complaint in str(caught.value)


def test_commands_may_go_on_and_outputs_may_be_left_out(tmp_path: Path) -> None:
    loop = "$ cd sub && for name in a b c; do\n>   echo $name\n> done\na\n...\nc\n"
    with stranger(tmp_path) as somebody:
        somebody.follow(Block("page.md:1", "text", "", "is drawn\n"))
        somebody.follow(Block("page.md:2", "python", "", "# sub/file.txt\nin it\n"))
        somebody.follow(
            Block("page.md:3", "console", "", f"{loop}$ tail -1 file.txt\nin it\n$ touch there\n$ pwd\n~/sub\n")
        )


# Nobody hides a block: each that is not run is listed here, by its page and its first line.
NOT_RUN = {
    "first-model.md": [
        "$ pip install torch onnx onnxscript",
        "$ cd ~/onnicorn && cp -r ~/tumours/models tumours",
        "$ kubectl apply -k ~/tumours/overlay",
    ],
    "api.md": [
        "$ perf_analyzer -m digits -u 127.0.0.1:8000 -i http --input-tensor-format json --output-tensor-format json "
        "--concurrency-range 1:8:4",
    ],
    "container.md": ["$ cd ~/onnicorn"],
    "fetching.md": ["$ pip install ~/onnicorn'[s3]'    # or [gs], [az], [https]; pinned: requirements-fetch.txt"],
    "index.md": ["$ python3 -m venv ~/serving"],
    "measurements.md": ["$ cd ~/onnicorn"],
    "models.md": ['versions = "latest"                 # or "all", or [1, 3]'],
    "moving.md": ["$ pip install tensorflow tf2onnx", "import json"],
    "operating.md": [
        "$ kubectl apply -k ~/onnicorn/k8s/overlays/prod",
        "$ cd ~/onnicorn && make rehearse     # three minutes; leaves nothing running",
    ],
    "security.md": ["$ docker run --read-only --cap-drop ALL --publish 8000:8000 onnicorn"],
}


def test_what_is_not_run_is_listed() -> None:
    found = {page.name: [block.text.splitlines()[0] for block in blocks(page) if block.reason] for page in pages()}
    assert {page: lines for page, lines in found.items() if lines} == NOT_RUN


def test_a_note_says_what_it_means() -> None:
    notes = {block.place: block.note for page in pages() for block in blocks(page)}
    assert [place for place, note in notes.items() if not re.fullmatch(r"|not run: \S.+|needs: \w+", note)] == []


@pytest.mark.parametrize("block", [block for page in pages() for block in blocks(page) if block.reason])
def test_what_is_not_run_is_at_least_in_its_language(block: Block) -> None:
    assert block.language in ("console", "python", "toml"), block.place
    if block.language == "python":
        compile(block.text, block.place, "exec")
    if block.language == "toml":
        tomllib.loads(block.text)
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
