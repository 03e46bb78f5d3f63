"""A server under measurement: started on its cores, asked for its CPU time and memory, ended."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.bench.endpoint import Endpoint, loopback
from service.bench.program import Program, ProgramFailed, answers, free_ports
from service.bench.program import running as started
from service.settings import PREFIX, variables

ROOT: Final = Path(__file__).parent.parent
_ANSWERS: Final = re.compile(r'^onnicorn_http_requests_total\{[^}]*status="([0-9]+)"[^}]*\} ([0-9.e+]+)$', re.MULTILINE)


@dataclass(frozen=True)
class Server:
    """`ops` is the port of the probes; 0 where there is none."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    ops: int = 0

    @property
    def endpoint(self) -> Endpoint:
        return loopback(self.port)

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
    port, ops = free_ports(2)
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
    with _running(name, command, folder, cores, known) as program:
        _wait_for(program, lambda: answers(f"http://127.0.0.1:{ops}/startupz"))
        yield Server(name, program.process, port, ops)


@contextmanager
def uvicorn(module: str, model: Path, folder: Path, cores: set[int]) -> Iterator[Server]:
    """`benchmarks.<module>` on the fastest server it could have: uvloop, httptools, no access log, no master."""
    (port,) = free_ports(1)
    command = (
        *("uvicorn", f"benchmarks.{module}:create_app", "--factory", "--port", str(port), "--lifespan", "off"),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
    )
    with _running(module, command, folder, cores, {"BENCHMARK_MODEL": str(model)}) as program:
        _wait_for(program, lambda: _accepts(port))
        yield Server(module, program.process, port)


def _running(
    name: str, command: Sequence[str], folder: Path, cores: set[int], settings: dict[str, str]
) -> AbstractContextManager[Program]:
    inherited = {
        variable: value
        for variable, value in os.environ.items()
        if not variable.startswith((PREFIX, "GUNICORN_", "UVICORN_", "WEB_CONCURRENCY"))
    }
    return started(name, (sys.executable, "-m", *command), folder / name, inherited | settings, ROOT, cores)


def _wait_for(program: Program, is_up: Callable[[], bool]) -> None:
    """What it has printed is gone with the folder, so it is said here."""
    try:
        program.wait_until(is_up, "started")
    except ProgramFailed as error:
        raise RuntimeError(f"{error}:\n{program.output.read_text()[-4000:]}") from None


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
