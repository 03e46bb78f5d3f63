"""The real programs, from the distribution's packages."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.conftest import SECONDS, client, connect


def program(name: str, package: str = "") -> str:
    """Its path. Without it the test is left out, but never in CI. Without a package, `.ci/` has what brings it."""
    # Debian keeps servers out of an ordinary user's way.
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have {name}: see .ci/run")
        pytest.skip(f"{name} is not installed; {f'on Debian: apt install {package}' if package else 'see .ci/run'}")
    return found


def output(*command: str, folder: Path | None = None) -> str:
    """Of a command that must succeed, both streams."""
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * SECONDS
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def serving(address: str, folder: Path, *command: str, probe: str | None = None) -> Iterator[Path]:
    """While the block runs, the command does too; it begins when it listens and, if there is one, answers its probe.

    What it prints is in the file yielded.
    """
    printed = folder / f"{Path(command[0]).name}.log"
    with printed.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_until_it_serves(process, address, probe, printed)
        yield printed
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)


def _wait_until_it_serves(process: subprocess.Popen[bytes], address: str, probe: str | None, printed: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not _serves(address, probe):
        try:
            code = process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, f"nobody answers on {address}:\n{printed.read_text()}"
        else:
            pytest.fail(f"{process.args!r} ended with {code}:\n{printed.read_text()}")


def _serves(address: str, probe: str | None) -> bool:
    try:
        connect(address).close()
    except OSError:
        return False
    if probe is None:
        return True
    with client(address) as asked:
        return asked.get(probe).status_code == 200


def adapted(text: str, changes: dict[str, str]) -> str:
    """A shipped file with what a test must have otherwise; each piece of text must be there."""
    for was, becomes in changes.items():
        assert was in text, f"expected {was!r} in the file"
        text = text.replace(was, becomes)
    return text
