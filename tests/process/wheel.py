"""What of the checkout is distributed, and environments in which that is all there is of it."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.process.conftest import ROOT

# A build leaves its traces beside the sources, so it works on a copy of them. What is large is no source.
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "shared", "*.egg-info", "__pycache__", "*.onnx")


def build(folder: Path, *wanted: str) -> Path:
    """The wheel, made of the source distribution beside it; with `--wheel` of the checkout itself."""
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    # By the setuptools that is locked: nothing is fetched.
    offline = ("--no-build-isolation", "--offline", "--no-config", "--python", sys.executable)
    run(sys.executable, "-m", "uv", "build", "--quiet", *offline, *wanted, "--out-dir", folder, folder / "source")
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment(folder: Path) -> Path:
    """An empty one; its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    return folder / "bin/python"


def pip(python: Path, *arguments: str | Path) -> str:
    """Our pip, at work on another environment."""
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", python, *arguments)


def run(*command: str | Path, folder: Path | None = None) -> str:
    """What a command prints that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
