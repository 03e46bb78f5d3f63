"""Copies of the service in slots: an address each, known to HAProxy and Prometheus whether anybody is there or not."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rehearsal.process import Failed, Program, answers, running

_COMMAND: Final = (sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "service.asgi:app")


@dataclass(frozen=True)
class Slot:
    """Where one copy may listen."""

    name: str
    api: int
    ops: int


class Copies:
    """Those that run, oldest first, and the slots that are free."""

    def __init__(self, slots: Iterable[Slot], folder: Path, stack: ExitStack) -> None:
        self._free = list(slots)
        self._running: list[tuple[Slot, Program]] = []
        self._folder = folder
        self._stack = stack
        self._logs: list[Path] = []

    def start(self) -> None:
        """Another one, and wait until it says that it is ready, as a cluster does."""
        slot = self._free.pop(0)
        name = f"copy-{len(self._logs) + 1}-{slot.name}"
        environment = {
            "ORT_DISABLE_TELEMETRY": "1",
            "ONNICORN_HTTP__BIND": f"127.0.0.1:{slot.api}",
            "ONNICORN_OPS__BIND": f"127.0.0.1:{slot.ops}",
            "ONNICORN_REPOSITORY__PATH": "models",
            "ONNICORN_RUNTIME__WORKERS": "1",
            "ONNICORN_LOG__FORMAT": "json",
            "ONNICORN_CACHE__DIR": str(self._folder / "cache"),
        }
        program = self._stack.enter_context(running(name, _COMMAND, self._folder, **environment))
        self._logs.append(program.output)
        program.wait_until(lambda: answers(f"http://127.0.0.1:{slot.ops}/readyz"), "ready")
        self._running.append((slot, program))

    def end_oldest(self) -> None:
        """It drains, and its exit code is 0."""
        slot, program = self._running.pop(0)
        if code := program.end():
            raise Failed(f"{program.name} ended with {code}: see {program.output}")
        self._free.append(slot)

    def end_all(self) -> None:
        while self._running:
            self.end_oldest()

    @property
    def started(self) -> int:
        return len(self._logs)

    def runs(self) -> tuple[Counter[str], Counter[str]]:
        """Of all that have ever run."""
        return count(self._logs)


def count(logs: Iterable[Path]) -> tuple[Counter[str], Counter[str]]:
    """How often each inference was run, and how often it was sent to a copy, by its id. From the copies' own logs."""
    run, seen = Counter[str](), Counter[str]()
    for record in _records(logs):
        if record.get("event") == "refused":
            seen.update(record["request_ids"])
        elif record.get("event") == "request" and record["route"].endswith("/infer"):
            seen[record["request_id"]] += 1
            # Whatever has come as far as a run may not be run again.
            run[record["request_id"]] += record["status"] not in (503, 429)
    return +run, seen


def _records(logs: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            # The last line of one that was killed may be cut off.
            if line.startswith("{") and line.endswith("}"):
                with suppress(ValueError):
                    yield json.loads(line)
