"""The guide's pages, which are run as they stand: as a whole, and some pieces by name."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.process.conftest import ROOT

GUIDE = ROOT / "docs"
GENERATED = frozenset({"cli.md"})
"""Pages that a tool writes from the code, and that another test holds against it."""

_SERVED = "127.0.0.1:8000"
"""Where the guide's service listens."""

_FENCE = re.compile(r"^```(?P<language>\w+)(?P<note>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# ([\w./~-]+\.\w+)\n")
_PARTS = "<!-- from an empty folder -->\n"


def snippet(name: str, address: str) -> str:
    """The code between two comments of this name in the guide's page of the API, for a service at this address."""
    mark = re.escape(name)
    found = re.search(
        rf"<!-- {mark} -->\n```\w+[^\n]*\n(.+?)\n```\n<!-- /{mark} -->", (GUIDE / "api.md").read_text(), re.S
    )
    assert found, f"expected code between <!-- {name} --> and <!-- /{name} --> in docs/api.md"
    assert _SERVED in found[1]
    return found[1].replace(_SERVED, address)


@dataclass(frozen=True)
class Command:
    """One command of a console block, and what the page shows of its output; "" where it shows nothing."""

    text: str
    shown: str


@dataclass(frozen=True)
class Block:
    """A fenced block. Behind its language may stand a note: `not run: <reason>`, or `needs: <what not everybody has>`.

    Readers see none of the note. What is drawn (`text`) is no code.
    """

    place: str
    language: str
    note: str
    text: str

    @property
    def reason(self) -> str:
        """Why it is not run; "" for one that is."""
        return self.note.removeprefix("not run: ") if self.note.startswith("not run: ") else ""

    @property
    def needs(self) -> str:
        """The module or program that it must have; "" for one that needs what everybody has."""
        return self.note.removeprefix("needs: ") if self.note.startswith("needs: ") else ""

    @property
    def file(self) -> str:
        """The file that the block is, by the comment in its first line; "" for one that is none."""
        found = _NAME.match(self.text)
        return found[1] if found else ""

    @property
    def commands(self) -> list[Command]:
        """Lines that begin with `$`, and with `>` where one goes on; what stands between them is their output."""
        found = re.findall(r"^\$ (.*(?:\n> .*)*)((?:\n(?!\$ ).*)*)", self.text.rstrip("\n"), re.MULTILINE)
        return [Command(text.replace("\n> ", "\n"), shown.strip("\n")) for text, shown in found]


def pages() -> list[Path]:
    """The guide's, as they are written by hand."""
    return [page for page in sorted(GUIDE.glob("*.md")) if page.name not in GENERATED]


def parts(page: Path) -> list[list[Block]]:
    """A page's blocks from top to bottom; a comment says where a reader may begin anew."""
    text = page.read_text()
    found: list[list[Block]] = [[]]
    begins = [match.end() for match in re.finditer(re.escape(_PARTS), text)]
    for match in _FENCE.finditer(text):
        while begins and match.start() > begins[0]:
            begins.pop(0)
            found.append([])
        place = f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}"
        found[-1].append(Block(place, match["language"], match["note"].strip(), match["text"]))
    return [part for part in found if part]


def blocks(page: Path) -> list[Block]:
    """All of them."""
    return [block for part in parts(page) for block in part]
