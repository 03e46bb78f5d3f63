"""The real thing: Gunicorn's master, its workers and the ops process, started and ended as in production.

Nothing here sleeps: whoever waits asks a condition between bounded waits for the process itself.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from tests import tiny
from tests.oip import Json

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "service.asgi:app")
SECONDS = 30
"""How long anything may take before the test fails; nothing is expected to come near it."""
MARK = "TESTED_SERVICE"
"""A variable by which all processes of one service know each other."""

T = TypeVar("T")


def client(address: str) -> httpx2.Client:
    """A client of `HOST:PORT` or `unix:PATH` that asks for no compression and that no proxy variable leads astray."""
    path = address.removeprefix("unix:")
    is_unix = path != address
    return httpx2.Client(
        base_url="http://localhost" if is_unix else f"http://{address}",
        transport=httpx2.HTTPTransport(uds=path if is_unix else None, verify=False),
        timeout=SECONDS,
        trust_env=False,
        headers={"Accept-Encoding": "identity"},
    )


def connect(address: str) -> socket.socket:
    """The same as bare bytes. Whatever blocks for too long raises TimeoutError."""
    path = address.removeprefix("unix:")
    if path == address:
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(SECONDS)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


@dataclass(frozen=True)
class Service:
    """A service: its master, its two addresses, the files that it prints to, and where its run directory is."""

    process: subprocess.Popen[bytes]
    api: str
    ops: str
    stdout: Path
    stderr: Path
    run: Path

    def printed(self) -> str:
        """Everything that it has printed so far."""
        return self.stdout.read_text() + self.stderr.read_text()

    def records(self) -> list[Json]:
        """What it has logged so far. A line that is no JSON object is an error; one that is not whole yet is left."""
        # Not splitlines: to Unicode, other characters end a line as well.
        *whole, _ = self.stdout.read_text().split("\n")
        records = [json.loads(line) for line in whole]
        assert [record for record in records if not isinstance(record, dict)] == []
        return records

    def requests(self) -> list[Json]:
        """The lines about requests: one each."""
        return [record for record in self.records() if record["event"] == "request"]

    def get(self, path: str) -> httpx2.Response:
        """From the API port, over a connection of its own."""
        with client(self.api) as api:
            return api.get(path)

    def post(self, path: str, document: Any) -> httpx2.Response:
        """To the API port, over a connection of its own."""
        with client(self.api) as api:
            return api.post(path, json=document)

    def probe(self, path: str) -> httpx2.Response:
        """From the ops port."""
        with client(self.ops) as ops:
            return ops.get(path)

    def workers(self) -> dict[int, int]:
        """The pids of the ready workers by slot."""
        rows = self.probe("/readyz").json()["workers"]
        return {row["slot"]: row["pid"] for row in rows if row["state"] == "READY"}

    def wait_until(self, condition: Callable[[], T], expected: str, seconds: float = SECONDS) -> T:
        """Ask until the answer is true, and return it. The end of the service meanwhile fails the test."""
        deadline = time.monotonic() + seconds
        while not (answer := condition()):
            try:
                code = self.process.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    pytest.fail(f"not {expected} after {seconds} s:\n{self.printed()}")
            else:
                pytest.fail(f"exited with {code} before it was {expected}:\n{self.printed()}")
        return answer

    def alive(self) -> list[int]:
        """The pids of its processes, the master among them."""
        return alive(self.run)

    def is_started(self) -> bool:
        """Not so either while nobody listens on the ops port."""
        try:
            # Not by the client, which leaks a UNIX socket that it cannot connect.
            connect(self.ops).close()
            return self.probe("/startupz").status_code == 200
        except (OSError, httpx2.TransportError):
            return False


StartService = Callable[..., Service]


@pytest.fixture(scope="module")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartService]:
    """`start_service(repository, ONNICORN_...="...")` starts a service that the end of the module ends."""
    with ExitStack() as stack:

        def start(repository: Path, **environment: str | None) -> Service:
            return stack.enter_context(running(repository, tmp_path_factory.mktemp("service"), **environment))

        yield start


@pytest.fixture(scope="module")
def service(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Two workers with the tiny models that one can show a client."""
    models = {f"identity_{name.lower()}": tiny.identity(name) for name in tiny.DATATYPES}
    others = {"double": tiny.double(), "add_sub": tiny.add_sub()}
    return start_service(tiny.repository(tmp_path_factory.mktemp("models"), **models, **others))


@contextmanager
def running(
    repository: Path,
    folder: Path,
    command: Sequence[str] = COMMAND,
    seconds: float = SECONDS,
    /,
    **environment: str | None,
) -> Iterator[Service]:
    """A service that is started, and that is ended with SIGTERM unless the block has done it; its exit code is 0."""
    with launched_by(command, repository, folder, **environment) as service:
        service.wait_until(service.is_started, "started", seconds)
        yield service
        if service.process.poll() is None:
            service.process.terminate()
        assert exit_code(service) == 0, service.printed()


def launched(
    repository: Path, folder: Path, *wrapper: str, **environment: str | None
) -> AbstractContextManager[Service]:
    """The same as launched_by; `wrapper` is a command that runs the command behind it."""
    return launched_by((*wrapper, *COMMAND), repository, folder, **environment)


@contextmanager
def launched_by(
    command: Sequence[str], repository: Path, folder: Path, /, **environment: str | None
) -> Iterator[Service]:
    """A service of which nothing is expected. What it prints and keeps lies in `folder`; None unsets a variable."""
    stdout, stderr, run = (folder / name for name in ("stdout", "stderr", "run"))
    run.mkdir(parents=True, exist_ok=True)
    variables = environment_of(repository, run, environment)
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    api, ops = variables["ONNICORN_HTTP__BIND"], variables["ONNICORN_OPS__BIND"]
    try:
        yield Service(process, api, ops, stdout, stderr, run)
    finally:
        kill_what_is_left(process, run)


def exit_code(service: Service) -> int:
    try:
        return service.process.wait(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"not ended after {SECONDS} s:\n{service.printed()}")


def alive(run: Path) -> list[int]:
    """The pids of the service's processes, found by what they inherit: one that has left the session is one as well."""
    mark = f"{MARK}={run}\0".encode()
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's; a zombie's is empty
            if mark in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


def wait_until_gone(pid: int) -> None:
    """For a process that is nobody's child here."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], SECONDS)
        assert ended, f"process {pid} lives on after {SECONDS} s"
    finally:
        os.close(descriptor)


def kill_what_is_left(process: subprocess.Popen[Any], run: Path) -> None:
    """A failed test leaves nothing running: each process of the service is ended by its own pid."""
    while left := alive(run):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until_gone(pid)
    process.wait(timeout=SECONDS)


def environment_of(repository: Path, run: Path, changes: Mapping[str, str | None]) -> dict[str, str]:
    """What a service is started with. A developer's own settings of Gunicorn are not the ones under test."""
    api, ops = free_addresses()
    variables: dict[str, str | None] = {
        **os.environ,
        "GUNICORN_CMD_ARGS": None,
        "WEB_CONCURRENCY": None,
        "ONNICORN_REPOSITORY__PATH": str(repository),
        "ONNICORN_HTTP__BIND": api,
        "ONNICORN_OPS__BIND": ops,
        "ONNICORN_RUNTIME__WORKERS": "2",
        "ONNICORN_RUN__DIR": str(run),
        "ONNICORN_CACHE__DIR": str(run.parent / "cache"),
        "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "0",  # whoever tests the drain asks for one
        "PYTHONPATH": str(Path(__file__).parent / "doorkeeper"),
        MARK: str(run),
        **changes,
    }
    return {name: value for name, value in variables.items() if value is not None}


def free_addresses(host: str = "127.0.0.1") -> tuple[str, str]:
    """Two that nobody listens on at the moment; nothing keeps them free, but the kernel hands each out rarely."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    written = f"[{host}]" if ":" in host else host
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server((host, 0), family=family)) for _ in range(2)]
        first, second = (f"{written}:{server.getsockname()[1]}" for server in servers)
    return first, second
