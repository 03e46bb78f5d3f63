"""`onnicorn serve`, from the wheel in an environment of its own, started where somebody else's project lies."""

import os
import sysconfig
from pathlib import Path

import pytest

from tests.process import wheel
from tests.process.certificates import Authority
from tests.process.conftest import exit_code, launched_by, running
from tests.process.double import TWOS, doubled, serve_double
from tests.process.test_tls import secure
from tests.process.wire import request


@pytest.fixture(scope="module")
def onnicorn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an installed wheel. What it depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    python = wheel.environment(folder / "environment")
    wheel.pip(python, "install", "--no-deps", "--no-index", wheel.build(folder / "built"))
    (packages,) = folder.glob("environment/lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "environment/bin/onnicorn"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a model and with packages that have the names of ours and of Gunicorn."""
    project = tmp_path / "project"
    project.mkdir()
    serve_double(project)
    for name in ("service", "gunicorn"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text("raise RuntimeError('not the one that was meant')\n")
    return project


def serve(onnicorn: Path, directory: Path) -> tuple[str, ...]:
    """The command, started in a directory."""
    return ("env", f"--chdir={directory}", str(onnicorn), "serve")


def test_it_serves_whatever_lies_where_it_was_started(onnicorn: Path, project: Path, tmp_path: Path) -> None:
    relative = {"ONNICORN_REPOSITORY__PATH": "models", "ONNICORN_CACHE__DIR": "prepared"}
    with running(project, tmp_path, serve(onnicorn, project), **relative) as service:
        assert doubled(service) == TWOS
        assert [path.name for path in (project / "prepared").glob("*/model.onnx")] == ["model.onnx"]
        # The process that was started is Gunicorn's master: PID 1 of a container gets the signals.
        assert Path(f"/proc/{service.process.pid}/cwd").readlink() == Path("/")
        assert b"gunicorn" in Path(f"/proc/{service.process.pid}/cmdline").read_bytes().split(b"\0")


def test_files_that_gunicorn_is_given_are_found_from_where_it_was_started(
    onnicorn: Path, project: Path, tmp_path: Path
) -> None:
    authority = Authority(project / "tls", "trusted")
    certificate, key = (os.path.relpath(file, project) for file in authority.sign("server"))
    tls = {"GUNICORN_CMD_ARGS": f"--certfile {certificate} --keyfile={key}"}
    with (
        running(project / "models", tmp_path, serve(onnicorn, project), **tls) as service,
        secure(service, authority.context()) as wire,
    ):
        wire.send(request("GET", "/v2/health/live", None, "Connection: close"))
        assert wire.answer().status_code == 200


def test_a_mistake_is_one_line_before_anything_starts(onnicorn: Path, project: Path, tmp_path: Path) -> None:
    wrong = {"ONNICORN_RUNTIME__WORKER": "2"}
    with launched_by(serve(onnicorn, project), project, tmp_path, **wrong) as service:
        assert exit_code(service) == 1
        assert service.printed() == (
            "onnicorn: ONNICORN_RUNTIME__WORKER is not a setting; the nearest is ONNICORN_RUNTIME__WORKERS\n"
        )
