"""Looks after the workers: accounts for each that ends, and decides when another may start or all must end."""

from time import monotonic
from typing import Final

import structlog

from service.board import Board, State
from service.supervision import exits
from service.supervision.breaker import Breaker
from service.supervision.exits import IN_ORDER, Ended, Reason

log = structlog.get_logger()

# A worker that died gets its successor no sooner than so many seconds after it had started itself.
_BACK_OFF: Final = 1.0


class Keeper:
    """Lives in the master. While the service ends it only accounts: nothing is started, killed or given up then."""

    def __init__(self, board: Board) -> None:
        self._board = board
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
        ready = any(row.state is State.READY for row in self._board.occupied())
        self._breaker.look(started=service.started, ready=ready, now=monotonic())

    def worker_ended(self, ended: Ended) -> None:
        """Raises GiveUp."""
        row, service, now = self._board.rows[ended.slot], self._board.service, monotonic()
        asked = self._asked.pop(ended.pid, Reason.ABORTED if ended.was_silent else None)
        reason = exits.reason_of(ended.code, asked)
        exits.account(ended, reason, row, now)
        was_ready = row.state is not State.STARTING
        row.clear()
        if reason in IN_ORDER or service.terminating:
            return
        self._not_before = max(self._not_before, ended.born + _BACK_OFF)
        self._breaker.died(reason, started=service.started, was_ready=was_ready, now=now)
