"""What we put in place of methods of Gunicorn's arbiter, where it has no hook for the moment.

What rests on how `gunicorn.arbiter.Arbiter` works inside stands in this file, with its reason; but for two lines of
`master.py`, on the order of its start and on where it keeps the number of workers. A test keeps a digest of each of its
methods that matters: when a release of Gunicorn changes one, read it anew. Another one does so for Uvicorn.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import structlog
from gunicorn.errors import HaltServer

from service.board import Board
from service.rows import State
from service.supervision.breaker import GiveUp
from service.supervision.exits import Ended, Reason

log = structlog.get_logger()


class Duties(Protocol):
    """What the master does at those moments. The last two may raise GiveUp."""

    def may_fork(self) -> bool:
        """May workers be started that are missing?"""

    def reload(self) -> None:
        """SIGHUP has come."""

    def look(self, api_listeners: list[Any]) -> None:
        """About once a second, and after each signal."""

    def worker_ended(self, ended: Ended) -> None:
        """A worker has been reaped."""


def take_over(server: Any, board: Board, duties: Duties) -> None:
    """Called in `when_ready`, before the first worker is forked."""
    _announce_stop(server, board)
    _look_after_each_pass(server, board, duties)
    _reap(server, board, duties)
    # Gunicorn would replace all workers at once, and end the service if the new ones cannot start.
    server.handle_hup = duties.reload
    server.handle_usr2 = _refuse_second_master


def _announce_stop(server: Any, board: Board) -> None:
    """`stop` closes the listeners first thing; readiness must turn 503 before that."""
    stop = server.stop

    def announced_stop(graceful: bool = True) -> None:
        board.service.terminating = True
        stop(graceful)

    server.stop = announced_stop


def _look_after_each_pass(server: Any, board: Board, duties: Duties) -> None:
    """`run` calls `manage_workers` at the end of each pass of its loop, but not from `stop` on."""
    manage_workers, spawn_workers = server.manage_workers, server.spawn_workers

    def manage_all() -> None:
        manage_workers()
        with _halting(server, board):
            duties.look(server.LISTENERS)

    def spawn_when_due() -> None:
        """`manage_workers` calls it where workers are missing, and comes again in a second."""
        if duties.may_fork():
            spawn_workers()

    server.manage_workers = manage_all
    server.spawn_workers = spawn_when_due


def _reap(server: Any, board: Board, duties: Duties) -> None:
    """Gunicorn's own tells no hook how a worker has ended, nor any hook at all of one that could not boot; and where
    two of them could not, it ends itself a second time while it ends, and leaves the other workers behind as orphans.
    """

    def reap_workers() -> None:
        for pid, code in _ended_children():
            worker = server.WORKERS.pop(pid, None)
            if worker is None:
                continue  # the ops process, or, where we are process 1 of a container, anybody's orphan
            worker.tmp.close()  # the file that it touched as its heartbeat
            # `murder_workers` aborts a worker whose heartbeat is too old, and marks it so.
            asked = Reason.ABORTED if worker.aborted else worker.asked
            with _halting(server, board):
                duties.worker_ended(Ended(pid, worker.slot, code, worker.born, asked))

    server.reap_workers = reap_workers


def _ended_children() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


@contextmanager
def _halting(server: Any, board: Board) -> Iterator[None]:
    """`run` catches HaltServer wherever it comes from, ends the workers, calls `on_exit` and leaves with the code."""
    try:
        yield
    except GiveUp as reason:
        if str(reason):
            log.critical("giving_up", reason=str(reason))
        for pid, worker in server.WORKERS.items():
            if board.rows[worker.slot].state is State.STARTING:
                worker.asked = Reason.STOPPED
                os.kill(pid, signal.SIGKILL)  # it serves nobody, and the end would wait until it has loaded
        raise HaltServer(None, 1) from None


def _refuse_second_master() -> None:
    """SIGUSR2 would start a second master on the same ports, which would not know our board."""
    log.warning("signal_ignored", signal="USR2", reason="a service is replaced by a rollout, not in place")
