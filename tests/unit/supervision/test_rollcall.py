"""The roll is called until every worker has staged a generation, or until it is plain that it will not come to that."""

from collections.abc import Callable

import pytest

from service.board import Board
from service.rows import State, WorkerRow
from service.supervision.rollcall import Aborted, Refused, RollCall


def worker(board: Board, pid: int, *states: State, staged: int = 1) -> WorkerRow:
    """A row as its worker has left it: with this pid, after these moves."""
    row = board.rows[board.occupy()]
    row._words[0] = pid
    for state in states:
        row.move(state)
    row.staged = staged
    return row


@pytest.fixture
def board() -> Board:
    return Board(slots=4)


def test_it_is_complete_when_all_have_staged_the_generation(board: Board) -> None:
    roll = RollCall(board, 2)
    assert not roll.is_complete()
    rows = [worker(board, 7, State.READY), worker(board, 8), worker(board, 9, State.READY, State.DRAINING)]
    for row in rows:
        assert not roll.is_complete()
        row.staged = 2
    assert roll.is_complete()


def test_who_answers_nobody_any_more_need_not_stage(board: Board) -> None:
    worker(board, 7, State.READY, staged=2)
    worker(board, 8, State.READY, State.STOPPED)
    assert RollCall(board, 2).is_complete()


def test_what_one_refuses_none_serves(board: Board) -> None:
    worker(board, 7, State.READY, staged=2)
    worker(board, 8, State.READY).refuse(2, "it is broken")
    with pytest.raises(Refused, match="it is broken") as refused:
        RollCall(board, 2).is_complete()
    assert not isinstance(refused.value, Aborted)


def test_an_earlier_refusal_is_not_held_against_anybody(board: Board) -> None:
    worker(board, 7, State.READY, staged=3).refuse(2, "it was broken")
    assert RollCall(board, 3).is_complete()


def die(row: WorkerRow) -> None:
    row.clear()


def drain_and_go(row: WorkerRow) -> None:
    row.move(State.DRAINING)


@pytest.mark.parametrize(("first", "is_called_off"), [(die, True), (drain_and_go, False)])
def test_two_that_die_call_it_off_unless_they_were_asked_to_go(
    first: Callable[[WorkerRow], None], is_called_off: bool, board: Board
) -> None:
    roll = RollCall(board, 2)
    one, two = worker(board, 7, State.READY), worker(board, 8, State.READY)
    assert not roll.is_complete()
    first(one)
    assert not roll.is_complete()
    one.clear()
    assert not roll.is_complete()
    two.clear()
    if is_called_off:
        with pytest.raises(Aborted, match="2 workers have died"):
            roll.is_complete()
    else:
        assert not roll.is_complete()
