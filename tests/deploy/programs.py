"""The real programs, from the distribution's packages."""

import os
import shutil
import subprocess

import pytest


def program(name: str, package: str) -> str:
    """Its path. Without it the test is left out, but never in CI."""
    # Debian keeps servers out of an ordinary user's way.
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have {name}: see .ci/run")
        pytest.skip(f"{name} is not installed; on Debian: apt install {package}")
    return found


def output(*command: str) -> str:
    """Of a command that must succeed, both streams."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout
