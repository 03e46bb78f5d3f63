"""The real thing: Gunicorn's master, its workers and the ops process, started and ended as in production."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import tiny

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "service.asgi:app")
START_SECONDS = 60
STOP_SECONDS = 60


@dataclass(frozen=True)
class Service:
    """A running service: its master, its two addresses (`host:port`), and the files that it prints to."""

    process: subprocess.Popen[bytes]
    api: str
    ops: str
    stdout: Path
    stderr: Path

    def printed(self) -> str:
        """Everything that it has printed so far."""
        return self.stdout.read_text() + self.stderr.read_text()


StartService = Callable[..., Service]


@pytest.fixture(scope="module")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartService]:
    """`start_service(repository, ONNICORN_...="...")` starts a service that the end of the module ends."""
    with ExitStack() as stack:

        def start(repository: Path, **environment: str) -> Service:
            return stack.enter_context(_running(repository, tmp_path_factory.mktemp("service"), environment))

        yield start


@pytest.fixture(scope="module")
def service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Two workers with the tiny models that one can show a client."""
    models = {f"identity_{name.lower()}": tiny.identity(name) for name in tiny.DATATYPES}
    others = {"double": tiny.double(), "add_sub": tiny.add_sub()}
    return start_service(tiny.repository(tmp_path_factory.mktemp("models"), **models, **others))


@contextmanager
def _running(repository: Path, folder: Path, environment: dict[str, str]) -> Iterator[Service]:
    api, ops = _free_addresses()
    settings = {
        "ONNICORN_REPOSITORY__PATH": str(repository),
        "ONNICORN_HTTP__BIND": api,
        "ONNICORN_OPS__BIND": ops,
        "ONNICORN_RUNTIME__WORKERS": "2",
    }
    stdout, stderr = folder / "stdout", folder / "stderr"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=os.environ | settings | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    running = Service(process, api, ops, stdout, stderr)
    try:
        _wait_until_started(running)
        yield running
        _end(running)
    finally:
        _kill_what_is_left(process)


def _free_addresses() -> tuple[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        first, second = (f"127.0.0.1:{server.getsockname()[1]}" for server in (one, other))
    return first, second


def _wait_until_started(service: Service) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ok(f"http://{service.ops}/startupz"):
        try:
            code = service.process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                pytest.fail(f"not started after {START_SECONDS} s:\n{service.printed()}")
        else:
            pytest.fail(f"exited with {code} while it started:\n{service.printed()}")


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(service: Service) -> None:
    """SIGTERM, unless the test has ended it already; what it was asked to finish it has finished, so 0."""
    if service.process.poll() is None:
        service.process.terminate()
    try:
        code = service.process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"not ended {STOP_SECONDS} s after SIGTERM:\n{service.printed()}")
    assert code == 0, service.printed()


def _kill_what_is_left(process: subprocess.Popen[bytes]) -> None:
    """A failed test leaves nothing running: the service is a session, and so a process group, of its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(timeout=STOP_SECONDS)
