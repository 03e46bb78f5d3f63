"""What is asked for under https:// comes encrypted, wherever it leads to, unless somebody has said otherwise."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fetch.conftest import files
from tests.fetch.stores import Environ, Web, served
from tests.process.certificates import Authority

SECONDS = 60


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority", "authority")


@pytest.fixture
def plain() -> Iterator[str]:
    with served(Web({"/one.onnx": b"one"})) as url:
        yield url


@pytest.fixture
def encrypted(authority: Authority, plain: str) -> Iterator[str]:
    """It has `/one.onnx`, and sends whoever asks for `/away.onnx` to the plain one."""
    own = Web({"/one.onnx": b"one"})

    def answer(environ: Environ, start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/away.onnx":
            return own(environ, start)
        start("302 Found", [("Location", f"{plain}/one.onnx"), ("Content-Length", "0")])
        return []

    with served(answer, authority.sign("server")) as url:
        yield url


def fetch(authority: Authority, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A process of its own: what aiohttp trusts is settled when it is imported."""
    return subprocess.run(
        (sys.executable, "-m", "service.cli", "fetch", *arguments),
        env=os.environ | {"SSL_CERT_FILE": str(authority.certificate), "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.parametrize(
    ("file", "options", "code"),
    [("one.onnx", (), 0), ("away.onnx", (), 1), ("away.onnx", ("--insecure-http",), 0)],
)
def test_a_redirect_leaves_encryption_only_where_that_is_allowed(
    authority: Authority, encrypted: str, tmp_path: Path, file: str, options: tuple[str, ...], code: int
) -> None:
    result = fetch(authority, *options, f"{encrypted}/{file}", tmp_path / "models")
    assert (result.returncode, files(tmp_path / "models")) == (code, {} if code else {file: b"one"}), result.stderr
    assert ("without encryption: say --insecure-http if you mean it" in result.stderr) == bool(code)
