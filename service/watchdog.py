"""A thread in each worker that sees when the event loop stands still, and when a run does not end.

The master kills a worker whose loop stands still; before that the watchdog says where it stands, and for whom. A run in
a thread holds up nobody but its own callers, and the master never hears of it: the watchdog ends it, and where that is
not possible has the worker replaced.
"""

import threading
from collections.abc import Collection
from typing import Final

import structlog

from service.engine.runs import Run, Runs
from service.knobs import Lifecycle
from service.seat import Seat
from service.telemetry.record import Record
from service.telemetry.stacks import stacks

log = structlog.get_logger()

_LOOK_SECONDS: Final = 0.5
# How long a run may go on once it was told to end.
_GRACE_SECONDS: Final = 2.0


class Watchdog:
    """Looks on while the block runs. `in_flight` are the requests that are being answered."""

    def __init__(self, seat: Seat, settings: Lifecycle, runs: Runs, in_flight: Collection[Record]) -> None:
        self._seat = seat
        self._silence = patience(settings.heartbeat_seconds)
        self._run_seconds = settings.run_seconds
        self._runs = runs
        self._in_flight = in_flight
        self._has_barked = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        for run in self._runs.under_way():
            run.terminate()  # the process waits for its threads, and nobody for these any more

    def _serve(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        self._look_at_loop()
        for run in self._runs.under_way():
            self._look_at_run(run)

    def _look_at_loop(self) -> None:
        """Once per standstill."""
        silent = self._seat.row.silent_seconds
        if silent < self._silence:
            self._has_barked = False
        elif not self._has_barked:
            self._has_barked = True
            log.error(
                "worker_stuck",
                slot=self._seat.slot,
                silent_seconds=round(silent, 3),
                requests=[record.request_id for record in list(self._in_flight)],
                stacks=stacks(),
            )

    def _look_at_run(self, run: Run) -> None:
        terminated = run.seconds_terminated
        if terminated is None:
            if run.seconds >= self._run_seconds:
                run.terminate()
                self._say("run_terminated", run)
        elif terminated >= _GRACE_SECONDS and not self._runs.is_stuck(run.model, run.version):
            self._say("run_stuck", run)
            self._runs.note_stuck(run)
            self._seat.is_stuck = True

    def _say(self, event: str, run: Run) -> None:
        log.error(event, model=run.model, version=run.version, seconds=round(run.seconds, 3))


def patience(heartbeat_seconds: float) -> float:
    """How long the loop may be silent: nearly as long as for the master, who shall not be the first to act."""
    return max(heartbeat_seconds / 2, heartbeat_seconds - 1)
