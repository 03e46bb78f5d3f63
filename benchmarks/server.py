"""A server under measurement: started on its cores, asked for its CPU time and memory, ended."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cores import pinned
from service.settings import PREFIX, variables

ROOT: Final = Path(__file__).parent.parent
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
_ANSWERS: Final = re.compile(r'^onnicorn_http_requests_total\{[^}]*status="([0-9]+)"[^}]*\} ([0-9.e+]+)$', re.MULTILINE)


@dataclass(frozen=True)
class Server:
    """`ops` is the port of the probes; 0 where there is none."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    ops: int = 0

    def cpu_seconds(self) -> float:
        """CPU time of all its processes.

        From their CPU clocks, which Linux numbers by pid (what clock_getcpuclockid(3) computes): /proc/PID/stat counts
        in hundredths of a second, too coarse for a round of one second.
        """
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def memory(self) -> int:
        """Bytes of all its processes, a page that several share divided among them (PSS)."""
        return sum(_pss(pid) for pid in self.pids())

    def statuses(self) -> Mapping[str, int]:
        """How many answers it has given with each status, as its metrics tell."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found: Counter[str] = Counter()
        for status, count in _ANSWERS.findall(text):
            found[status] += int(float(count))
        return found

    def pids(self) -> list[int]:
        """Every process of the session that the server was started in."""
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        return [pid for pid in pids if _session(pid) == self.process.pid]


@contextmanager
def onnicorn(
    repository: Path, folder: Path, cores: set[int], workers: int = 1, name: str = "onnicorn", **settings: str
) -> Iterator[Server]:
    """The service with its defaults, one thread in each worker, as `make run` starts it."""
    port, ops = _free_ports(2)
    wanted = {
        "ONNICORN_HTTP__BIND": f"127.0.0.1:{port}",
        "ONNICORN_OPS__BIND": f"127.0.0.1:{ops}",
        "ONNICORN_REPOSITORY__PATH": str(repository),
        "ONNICORN_RUNTIME__WORKERS": str(workers),
        "ONNICORN_RUNTIME__INTRA_OP_THREADS": "1",
        "ONNICORN_LOG__FORMAT": "json",
        "ONNICORN_CACHE__DIR": str(folder / "cache"),
        "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "0",
    } | settings
    # A service that does not know a setting refuses it; so an older one can be measured with the same benchmark.
    known = {variable: value for variable, value in wanted.items() if variable in variables()}
    command = ("gunicorn", "-c", "gunicorn.conf.py", "service.asgi:app")
    with _running(name, command, folder, cores, known) as process:
        server = Server(name, process, port, ops)
        _wait_until(lambda: _answers_ok(f"http://127.0.0.1:{ops}/startupz"), process, folder / name)
        yield server


@contextmanager
def uvicorn(module: str, model: Path, folder: Path, cores: set[int]) -> Iterator[Server]:
    """`benchmarks.<module>` on the fastest server it could have: uvloop, httptools, no access log, no master."""
    (port,) = _free_ports(1)
    command = (
        *("uvicorn", f"benchmarks.{module}:create_app", "--factory", "--port", str(port), "--lifespan", "off"),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
    )
    with _running(module, command, folder, cores, {"BENCHMARK_MODEL": str(model)}) as process:
        _wait_until(lambda: _accepts(port), process, folder / module)
        yield Server(module, process, port)


@contextmanager
def _running(
    name: str, command: Sequence[str], folder: Path, cores: set[int], settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Its output goes to a file: a log line has to be paid for as in production."""
    inherited = {
        variable: value
        for variable, value in os.environ.items()
        if not variable.startswith((PREFIX, "GUNICORN_", "UVICORN_", "WEB_CONCURRENCY"))
    }
    with (folder / name).open("wb") as output, pinned(cores):
        process = subprocess.Popen(
            (sys.executable, "-m", *command),
            cwd=ROOT,
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """In order, so that it removes what it has made; and whatever that leaves, by force."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(_STOP_SECONDS)


def _wait_until(is_up: Callable[[], bool], process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{output.name} did not start:\n{output.read_text()[-4000:]}")
        time.sleep(0.02)


def _answers_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    """Held together while they are looked for, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in held]
    for server in held:
        server.close()
    return ports


def _session(pid: int) -> int:
    """Field 6 of /proc/PID/stat (proc(5)); the name before it may hold anything. 0 for a process that has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return 0


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup has no Pss")
