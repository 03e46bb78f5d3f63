"""The real service, started for a measurement: Gunicorn and all, on free ports of loopback, and ended after it."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import service
from service.bench.cores import Seats
from service.bench.endpoint import Endpoint, loopback
from service.bench.failures import BenchFailed
from service.bench.program import Program, ProgramFailed, answers, free_ports, running
from service.supervision.command import COMMAND

# Where the package lies: modules are looked for in the working directory first.
_HOME: Final = Path(service.__file__).parent.parent
# Gunicorn's own settings are for the service that runs all day; whoever measures needs no key.
_LEFT_OUT: Final = ("GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "ONNICORN_ACCESS__KEYS")
# What a start takes beside the loading of its models: for estimates.
START_SECONDS: Final = 3
_READY_SECONDS: Final = 300
_LOG_SHOWN: Final = 1000


@contextmanager
def onnicorn(
    environment: Mapping[str, str],
    settings: Mapping[str, str],
    run: Path,
    seats: Seats,
    look: Callable[[], None] = lambda: None,
) -> Iterator[Endpoint]:
    """Ready as long as the block lasts. `environment` is that of the service, which `settings` win over.

    Its files lie below `run`. While it is waited for, `look` is called, and may raise. Raises BenchFailed with the
    reason if the service does not start.
    """
    port, ops = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="onnicorn-bench-", dir=run) as folder:
        own = {
            "ONNICORN_HTTP__BIND": f"127.0.0.1:{port}",
            "ONNICORN_OPS__BIND": f"127.0.0.1:{ops}",
            "ONNICORN_RUN__DIR": folder,
            "ONNICORN_LOG__FORMAT": "json",
            "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "0",
            **settings,
        }
        log = Path(folder, "log")
        with running("the service", COMMAND, log, _changed(environment, own), _HOME, seats.serving) as program:
            _wait_for(program, f"http://127.0.0.1:{ops}/startupz", look)
            yield loopback(port)


def _changed(environment: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Settings may be spelled in any case, and of two spellings nobody knows which one counts."""
    dropped = {*own, *_LEFT_OUT}
    return {name: value for name, value in environment.items() if name.upper() not in dropped} | dict(own)


def _wait_for(program: Program, url: str, look: Callable[[], None]) -> None:
    def is_ready() -> bool:
        look()
        return answers(url)

    try:
        program.wait_until(is_ready, "ready", _READY_SECONDS)
    except ProgramFailed:
        raise BenchFailed(f"the service does not start: {_reason(program.output.read_text())}") from None


def _reason(log: str) -> str:
    """What its last critical record says; the end of the log where it has none."""
    for line in reversed(log.splitlines()):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("level") == "critical" and "reason" in record:
            return str(record["reason"])
    return log[-_LOG_SHOWN:].strip() or "it has said nothing"
