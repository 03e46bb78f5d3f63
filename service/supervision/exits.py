"""Why a worker has ended, and what it did last."""

import os
import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import structlog

from service.rows import WorkerRow
from service.telemetry.metrics import WORKER_EXITS

log = structlog.get_logger()


class Reason(StrEnum):
    """All that a worker's end can be."""

    STOPPED = "stopped"  # in order
    RECYCLED = "recycled"  # in order, because memory was short
    KILLED = "killed"  # SIGKILL, most likely by the kernel for lack of memory
    ABORTED = "aborted"  # SIGABRT, most likely by the master because the event loop was stuck
    CRASHED = "crashed"  # any other signal
    LOAD_TIMEOUT = "load_timeout"  # it loaded its models for too long
    BOOT_FAILED = "boot_failed"  # it could not start, and has said why
    STUCK = "stuck"  # a run in one of its threads did not end
    FAILED = "failed"  # any other exit code


IN_ORDER: Final = frozenset({Reason.STOPPED, Reason.RECYCLED})

# A worker that is asked to leave before it handles signals leaves by them.
_REQUESTS: Final = frozenset({0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGQUIT})
# For these the master sends SIGABRT, then SIGKILL; and SIGKILL to whoever still loads when it gives up.
_BY_FORCE: Final = frozenset({Reason.ABORTED, Reason.LOAD_TIMEOUT, Reason.STOPPED})
_BY_CODE: Final = {
    -signal.SIGKILL: Reason.KILLED,
    -signal.SIGABRT: Reason.ABORTED,
    # Gunicorn's codes for a worker that failed before it served, and for an app that cannot be imported; and our own
    # for a worker that could not load once the service had started.
    3: Reason.BOOT_FAILED,
    4: Reason.BOOT_FAILED,
    os.EX_TEMPFAIL: Reason.BOOT_FAILED,
    os.EX_SOFTWARE: Reason.STUCK,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker process that is gone. `code` is its exit code, or a signal as a negative number; `asked` is why the
    master has signalled it, if it has.
    """

    pid: int
    slot: int
    code: int
    born: float  # on the monotonic clock
    asked: Reason | None = None


def reason_of(code: int, asked: Reason | None) -> Reason:
    """`asked` is as in `Ended`; a worker may end in another way before it comes to that."""
    if code in _REQUESTS:
        return Reason.RECYCLED if asked is Reason.RECYCLED else Reason.STOPPED
    if code < 0 and asked in _BY_FORCE:
        return asked
    return _BY_CODE.get(code, Reason.CRASHED if code < 0 else Reason.FAILED)


def account(ended: Ended, reason: Reason, row: WorkerRow, now: float) -> None:
    """One line and one count. The worker's row still shows what it did last."""
    WORKER_EXITS.labels(reason).inc()
    write = log.info if reason in IN_ORDER else log.error
    write(
        "worker_exited",
        worker=ended.slot,
        worker_pid=ended.pid,
        reason=reason.value,
        **_how(ended.code),
        uptime_seconds=round(now - ended.born, 3),
        state=row.state.name,
        state_seconds=round(row.seconds_in_state, 3),
        silent_seconds=round(row.silent_seconds, 3),
        connections=row.connections,
        generation=row.generation,
    )


def show_all() -> None:
    """Each reason has its series from the start: a rate needs a number to begin with."""
    for reason in Reason:
        WORKER_EXITS.labels(reason)


def _how(code: int) -> dict[str, Any]:
    return {"signal": signal_name(code)} if code < 0 else {"exit_code": code}


def signal_name(code: int) -> str:
    """Real-time signals have no names of their own."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
