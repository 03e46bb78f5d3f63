"""The keeper of a board: who may start, who must end, and when there is no hope. Workers are real children."""

import faulthandler
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from structlog.testing import capture_logs

from service.board import Board
from service.cgroup import Cgroup
from service.knobs import Lifecycle
from service.rows import State
from service.supervision.breaker import DEATHS, GiveUp
from service.supervision.exits import Ended
from service.supervision.keeper import Keeper, overdue

# From Python 3.12 on; these children only wait.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

OLD = -1000.0
"""Born so long ago that nobody waits on its account."""


def a_board(*states: State, started: bool = True) -> Board:
    """With one worker in each state."""
    board = Board(slots=4)
    board.service.started = started
    board.service.workers = len(states)
    for state in states:
        row = board.rows[board.occupy()]
        if state is not State.STARTING:
            row.move(state)
    return board


def keeper_of(board: Board, load_seconds: float = 60.0, cgroup: Cgroup | None = None) -> Keeper:
    """Without a control group memory knows no limit."""
    lifecycle = Lifecycle.model_construct(load_seconds=load_seconds, recycle_at_memory=0.9)
    return Keeper(board, lifecycle, cgroup or Cgroup.of_this_process(Path("/nowhere"), Path("/nowhere")))


def ended(code: int, slot: int = 0, born: float = OLD) -> Ended:
    return Ended(4711 + slot, slot, code, born)


def test_the_row_of_a_worker_that_has_ended_is_free() -> None:
    board = a_board(State.READY, State.READY)
    keeper_of(board).worker_ended(ended(-signal.SIGKILL, slot=1))
    assert [row.state for row in board.rows[:2]] == [State.READY, State.FREE]


@pytest.mark.parametrize("code", [-signal.SIGSEGV, 7])
def test_a_worker_that_dies_as_soon_as_it_starts_is_not_replaced_at_once(code: int) -> None:
    keeper = keeper_of(a_board(State.STARTING))
    keeper.worker_ended(ended(code, born=monotonic()))
    assert not keeper.may_fork()


def test_a_worker_that_lived_for_long_is_replaced_at_once() -> None:
    keeper = keeper_of(a_board(State.READY))
    keeper.worker_ended(ended(-signal.SIGKILL))
    assert keeper.may_fork()


def test_a_worker_that_was_asked_to_leave_is_replaced_at_once() -> None:
    keeper = keeper_of(a_board(State.STARTING))
    keeper.worker_ended(ended(0, born=monotonic()))
    assert keeper.may_fork()


def test_deaths_before_the_start_are_given_up() -> None:
    board = a_board(started=False)
    keeper = keeper_of(board)
    for _ in range(DEATHS - 1):
        keeper.worker_ended(ended(-signal.SIGSEGV, board.occupy()))
    with pytest.raises(GiveUp, match=f"{DEATHS} workers"):
        keeper.worker_ended(ended(-signal.SIGSEGV, board.occupy()))


def test_nothing_is_given_up_while_the_service_ends() -> None:
    board = a_board(started=False)
    board.service.terminating = True
    keeper = keeper_of(board)
    for _ in range(DEATHS):
        keeper.worker_ended(ended(3, board.occupy()))
        keeper.look()


@contextmanager
def a_worker(board: Board, *states: State) -> Iterator[int]:
    """A process that waits for a signal, and that has passed through these states; yields its pid."""
    row = board.rows[board.occupy()]
    for state in states:
        row.move(state)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        faulthandler.disable()  # pytest's, which would tell of an abort
        os.write(writer, b"!")
        signal.pause()
        os._exit(0)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    row._words[0] = pid
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def end_of(pid: int) -> int:
    """The signal that has ended it, which is left to be reaped."""
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert info is not None
    return info.si_status


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def test_a_worker_that_loads_for_too_long_is_aborted() -> None:
    board = a_board()
    with a_worker(board) as pid:
        keeper_of(board, load_seconds=0).look()
        assert end_of(pid) == signal.SIGABRT


def test_one_that_loads_no_longer_than_it_may_is_left_alone_and_so_is_a_ready_one() -> None:
    board = a_board()
    with a_worker(board) as loading:
        keeper_of(board, load_seconds=60).look()
        assert not has_ended(loading)
    board = a_board()
    with a_worker(board, State.READY) as ready:
        keeper_of(board, load_seconds=0).look()
        assert not has_ended(ready)


def test_nobody_is_aborted_while_the_service_ends() -> None:
    board = a_board()
    board.service.terminating = True
    with a_worker(board) as pid:
        keeper_of(board, load_seconds=0).look()
        assert not has_ended(pid)


def test_one_that_an_abort_did_not_end_is_killed() -> None:
    board = a_board(State.STARTING)
    row = board.rows[0]
    assert overdue(row, row.seconds_in_state - 1) is signal.SIGABRT
    assert overdue(row, row.seconds_in_state - 3) is signal.SIGKILL
    assert overdue(row, row.seconds_in_state + 60) is None


def test_a_worker_that_was_ended_for_its_load_is_counted_so_and_ends_the_start() -> None:
    board = a_board(started=False)
    keeper = keeper_of(board, load_seconds=0)
    with a_worker(board) as pid:
        keeper.look()
        with pytest.raises(GiveUp, match="ONNICORN_LIFECYCLE__LOAD_SECONDS"):
            keeper.worker_ended(Ended(pid, 0, -signal.SIGABRT, OLD))


def test_a_worker_that_memory_is_short_for_leaves_in_order_and_is_counted_so(tmp_path: Path) -> None:
    for name, text in {"memory.max": "1000", "memory.current": "950", "memory.stat": "inactive_file 0"}.items():
        (tmp_path / name).write_text(text)
    board = a_board()
    board.service.workers = 1
    keeper = keeper_of(board, cgroup=Cgroup.of_this_process(tmp_path, tmp_path / "nowhere"))
    with a_worker(board, State.READY) as pid, capture_logs() as records:
        keeper._recycler._first = {pid: 1}
        keeper.look()
        assert end_of(pid) == signal.SIGTERM
        keeper.worker_ended(Ended(pid, 0, 0, OLD))
    assert [record["event"] for record in records] == ["worker_recycled", "worker_exited"]
    assert records[1]["reason"] == "recycled"
