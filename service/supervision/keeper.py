"""Looks after the workers: accounts for each that ends, and decides when another may start or all must end."""

import os
import signal
from time import monotonic
from typing import Final

from service.board import Board
from service.cgroup import Cgroup
from service.knobs import Lifecycle
from service.rows import State, WorkerRow
from service.supervision import exits
from service.supervision.breaker import Breaker
from service.supervision.exits import IN_ORDER, Ended, Reason
from service.supervision.recycling import Recycler

# A worker that loads for too long gets SIGABRT, and SIGKILL if it is still there so many seconds later.
_ABORT_SECONDS: Final = 2.0
# A worker that died gets its successor no sooner than so many seconds after it had started itself.
_BACK_OFF: Final = 1.0


class Keeper:
    """Lives in the master. While the service ends it only accounts: nothing is started, killed or given up then."""

    def __init__(self, board: Board, lifecycle: Lifecycle, cgroup: Cgroup) -> None:
        self._board = board
        self._load_seconds = lifecycle.load_seconds
        self._recycler = Recycler(lifecycle.recycle_at_memory, board, cgroup)
        self._asked: dict[int, Reason] = {}  # whom we have signalled, by pid, and why
        self._not_before = 0.0
        self._breaker = Breaker(monotonic())
        exits.show_all()

    def may_fork(self) -> bool:
        """A worker that dies as soon as it starts would be started a hundred times in six seconds."""
        return monotonic() >= self._not_before

    def look(self) -> None:
        """About once a second. Raises GiveUp."""
        service = self._board.service
        if service.terminating:
            return
        self._end_overdue()
        if pid := self._recycler.due(monotonic()):
            self._ask(pid, Reason.RECYCLED, signal.SIGTERM)
        ready = any(row.state is State.READY for row in self._board.occupied())
        self._breaker.look(started=service.started, ready=ready, now=monotonic())

    def worker_ended(self, ended: Ended) -> None:
        """Raises GiveUp."""
        row, service, now = self._board.rows[ended.slot], self._board.service, monotonic()
        reason = exits.reason_of(ended.code, self._asked.pop(ended.pid, ended.asked))
        exits.account(ended, reason, row, now)
        was_ready = row.state is not State.STARTING
        row.clear()
        if service.terminating:
            return
        if reason in IN_ORDER:
            self._breaker.left(was_ready=was_ready, now=now)
            return
        self._not_before = max(self._not_before, ended.born + _BACK_OFF)
        self._breaker.died(reason, started=service.started, was_ready=was_ready, now=now)

    def _end_overdue(self) -> None:
        """Their event loops beat while a thread loads, so Gunicorn never misses them."""
        for row in self._board.occupied():
            number = overdue(row, self._load_seconds)
            if number and row.pid:
                self._ask(row.pid, Reason.LOAD_TIMEOUT, number)

    def _ask(self, pid: int, reason: Reason, number: signal.Signals) -> None:
        self._asked[pid] = reason
        os.kill(pid, number)


def overdue(row: WorkerRow, load_seconds: float) -> signal.Signals | None:
    """What a worker gets that has loaded for too long."""
    if row.state is not State.STARTING or row.seconds_in_state <= load_seconds:
        return None
    return signal.SIGABRT if row.seconds_in_state <= load_seconds + _ABORT_SECONDS else signal.SIGKILL
