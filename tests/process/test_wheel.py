"""The wheel in an environment that has only what requirements.txt locks: it serves where nobody has a checkout."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from service import __version__
from tests.process import wheel
from tests.process.conftest import ROOT, running
from tests.process.double import TWOS, doubled, serve_double

# Imports every module, but those that do something when they are imported, and the one that an extra is for.
IMPORT_ALL = """
import importlib, pkgutil, sys
import service

others = {"service.asgi", "service.cli.__main__", "service.fetch.web", "service.supervision.gunicorn"}
for name in {module.name for module in pkgutil.walk_packages(service.__path__, "service.")} - others:
    importlib.import_module(name)
print(*(module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "service"), sep="\\n")
"""


@dataclass(frozen=True)
class Installed:
    """The wheel, the environment that it is installed in, and a folder with nothing in it, to work in."""

    wheel: Path
    environment: Path
    nowhere: Path

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the environment prints."""
        return wheel.run(self.environment / "bin" / program, *arguments, folder=self.nowhere)

    def files(self) -> set[Path]:
        """Everything in the environment."""
        return set(self.environment.rglob("*"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    made = Installed(wheel.build(folder / "built"), folder / "environment", folder / "nowhere")
    made.nowhere.mkdir()
    python = wheel.environment(made.environment)
    wheel.pip(python, "install", "--require-hashes", "--no-deps", "--requirement", ROOT / "requirements.txt")
    wheel.pip(python, "install", "--no-deps", "--no-index", made.wheel)
    return made


def contents(file: Path) -> dict[str, bytes]:
    with ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_nothing_else(installed: Installed) -> None:
    ours = {path for path in (ROOT / "service").rglob("*") if path.is_file() and path.parent.name != "__pycache__"}
    about = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt")
    assert contents(installed.wheel).keys() == {
        *(str(path.relative_to(ROOT)) for path in ours),
        *(f"onnicorn-{__version__}.dist-info/{name}" for name in about),
    }


def test_a_checkout_makes_the_same_wheel_as_its_source_distribution(installed: Installed, tmp_path: Path) -> None:
    assert contents(wheel.build(tmp_path / "built", "--wheel")) == contents(installed.wheel)


def test_the_locked_versions_are_ones_that_the_wheel_asks_for(installed: Installed) -> None:
    assert wheel.pip(installed.environment / "bin/python", "check") == ""


def test_the_version_is_the_packages(installed: Installed) -> None:
    assert installed.run("onnicorn", "--version") == f"onnicorn, version {__version__}\n"


def test_every_module_is_the_wheels_and_needs_only_what_is_locked(installed: Installed) -> None:
    imported = installed.run("python", "-c", IMPORT_ALL).split()
    assert len(imported) > 100
    assert [file for file in imported if not Path(file).is_relative_to(installed.environment)] == []


def test_it_serves_a_model_from_an_empty_folder_and_an_empty_home(installed: Installed, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    models = serve_double(tmp_path)
    onnicorn = str(installed.environment / "bin/onnicorn")
    command = ("env", f"--chdir={installed.nowhere}", onnicorn, "serve", "--repository", str(models))
    plain = {"HOME": str(home), "ONNICORN_REPOSITORY__PATH": None, "ONNICORN_CACHE__DIR": None, "PYTHONPATH": None}
    before = installed.files()
    with running(models, tmp_path, command, **plain) as service:
        assert doubled(service) == TWOS
    # Neither of these need be writable: prepared models go to the home, and everything else to the run directory.
    assert (installed.files() - before, [*installed.nowhere.iterdir()]) == (set(), [])
    assert [path.name for path in home.glob(".cache/onnicorn/*/model.onnx")] == ["model.onnx"]
