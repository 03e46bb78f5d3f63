"""The keeper of a board: who may start, who must end, and when there is no hope."""

import signal
from time import monotonic

import pytest

from service.board import Board, State
from service.supervision.breaker import DEATHS, GiveUp
from service.supervision.exits import Ended
from service.supervision.keeper import Keeper

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


def ended(code: int, slot: int = 0, born: float = OLD) -> Ended:
    return Ended(4711 + slot, slot, code, born)


def test_the_row_of_a_worker_that_has_ended_is_free() -> None:
    board = a_board(State.READY, State.READY)
    Keeper(board).worker_ended(ended(-signal.SIGKILL, slot=1))
    assert [row.state for row in board.rows[:2]] == [State.READY, State.FREE]


@pytest.mark.parametrize("code", [-signal.SIGSEGV, 7])
def test_a_worker_that_dies_as_soon_as_it_starts_is_not_replaced_at_once(code: int) -> None:
    keeper = Keeper(a_board(State.STARTING))
    keeper.worker_ended(ended(code, born=monotonic()))
    assert not keeper.may_fork()


def test_a_worker_that_lived_for_long_is_replaced_at_once() -> None:
    keeper = Keeper(a_board(State.READY))
    keeper.worker_ended(ended(-signal.SIGKILL))
    assert keeper.may_fork()


def test_a_worker_that_was_asked_to_leave_is_replaced_at_once() -> None:
    keeper = Keeper(a_board(State.STARTING))
    keeper.worker_ended(ended(0, born=monotonic()))
    assert keeper.may_fork()


def test_deaths_before_the_start_are_given_up() -> None:
    board = a_board(started=False)
    keeper = Keeper(board)
    for _ in range(DEATHS - 1):
        keeper.worker_ended(ended(-signal.SIGSEGV, board.occupy()))
    with pytest.raises(GiveUp, match=f"{DEATHS} workers"):
        keeper.worker_ended(ended(-signal.SIGSEGV, board.occupy()))


def test_nothing_is_given_up_while_the_service_ends() -> None:
    board = a_board(started=False)
    board.service.terminating = True
    keeper = Keeper(board)
    for _ in range(DEATHS):
        keeper.worker_ended(ended(3, board.occupy()))
        keeper.look()
