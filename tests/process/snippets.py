"""Pieces of the README that are run as they stand there, against a service of the test's own."""

import re

from tests.process.conftest import ROOT

_SERVED = "127.0.0.1:8000"
"""Where the README's service listens."""


def snippet(name: str, address: str) -> str:
    """The code between the README's two comments of this name, for a service at this address."""
    mark = re.escape(name)
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.+?)\n```\n<!-- /{mark} -->", (ROOT / "README.md").read_text(), re.S)
    assert found, f"expected code between <!-- {name} --> and <!-- /{name} --> in README.md"
    assert _SERVED in found[1]
    return found[1].replace(_SERVED, address)
