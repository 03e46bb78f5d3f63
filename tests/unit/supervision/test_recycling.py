"""Which worker leaves before memory runs out: made-up control groups, and this process as every worker."""

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.board import Board
from service.cgroup import Cgroup
from service.rows import State
from service.supervision.recycling import PAUSE, Holder, Recycler, choose

LIMIT = 1000
Fill = Callable[[int], Cgroup]


@pytest.mark.parametrize(
    ("holders", "chosen"),
    [
        ([], None),
        ([Holder(1, private=200, first=100)], 1),
        ([Holder(1, private=200, first=100), Holder(2, private=300, first=100)], 2),
        ([Holder(1, private=200, first=100), Holder(2, private=300, first=290)], 1),
        ([Holder(1, private=100, first=100), Holder(2, private=0, first=0)], None),
    ],
    ids=["nobody", "one", "the largest", "the largest that has grown", "nobody has grown"],
)
def test_the_largest_of_those_that_have_grown_is_chosen(holders: list[Holder], chosen: int | None) -> None:
    found = choose(holders)
    assert (found and found.pid) == chosen


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Say how much memory the container uses, of LIMIT."""

    def fill(used: int) -> Cgroup:
        (tmp_path / "memory.max").write_text(f"{LIMIT}\n")
        (tmp_path / "memory.current").write_text(f"{used + 50}\n")
        (tmp_path / "memory.stat").write_text("inactive_file 50\n")
        return Cgroup.of_this_process(tmp_path, tmp_path / "nowhere")

    return fill


def a_board(*states: State) -> Board:
    """A started service; each worker is this very process, which has a pid that can be read."""
    board = Board(slots=4)
    board.service.started = True
    board.service.workers = len(states)
    board.service.commit(1, 1)
    for state in states:
        row = board.rows[board.occupy()]
        row.adopt()
        if state is not State.STARTING:
            row.move(state)
    return board


def recycler(board: Board, cgroup: Cgroup, share: float = 0.9) -> Recycler:
    """One that has seen each worker when it held a single byte."""
    made = Recycler(share, board, cgroup)
    made._first = {row.pid: 1 for row in board.occupied()}
    return made


@pytest.mark.parametrize("states", [(State.READY,), (State.READY, State.READY)], ids=["alone", "with a sibling"])
def test_at_the_threshold_a_worker_leaves_and_the_log_has_the_figures(fill: Fill, states: tuple[State, ...]) -> None:
    board = a_board(*states)
    made = recycler(board, fill(900))
    with capture_logs() as records:
        assert made.due(now=1000) == board.rows[0].pid
    [record] = records
    assert record.pop("private_bytes") > 1
    assert record == {
        "event": "worker_recycled",
        "log_level": "warning",
        "worker_pid": board.rows[0].pid,
        "private_bytes_at_first": 1,
        "working_set_bytes": 900,
        "threshold_bytes": 900,
    }


def test_below_the_threshold_everybody_stays(fill: Fill) -> None:
    assert recycler(a_board(State.READY), fill(899)).due(now=1000) is None


def test_the_next_one_leaves_after_a_pause_at_the_earliest(fill: Fill) -> None:
    made = recycler(a_board(State.READY), fill(950))
    assert [bool(made.due(now=1000 + after)) for after in (0, 1, PAUSE - 1, PAUSE)] == [True, False, False, True]


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING], ids=lambda state: state.name)
def test_nobody_leaves_while_a_sibling_is_not_ready(fill: Fill, state: State) -> None:
    board = a_board(State.READY, State.READY if state is State.DRAINING else state)
    if state is State.DRAINING:
        board.rows[1].move(state)
    assert recycler(board, fill(950)).due(now=1000) is None


def test_nobody_leaves_while_one_is_missing_or_before_the_start_or_in_a_reload(fill: Fill) -> None:
    missing, starting, reloading = (a_board(State.READY) for _ in range(3))
    missing.service.workers = 2
    starting.service.started = False
    reloading.service.target = 2
    assert [recycler(board, fill(950)).due(now=1000) for board in (missing, starting, reloading)] == [None] * 3


def test_a_worker_is_measured_when_it_is_first_seen_ready(fill: Fill) -> None:
    """And this process does not grow by a tenth meanwhile."""
    made = Recycler(0.9, a_board(State.READY), fill(950))
    assert [made.due(now=1000), made.due(now=1001)] == [None, None]


def test_without_a_limit_or_with_0_nobody_leaves(fill: Fill, tmp_path: Path) -> None:
    board, cgroup = a_board(State.READY), fill(950)
    assert recycler(board, cgroup, share=0).due(now=1000) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert recycler(board, cgroup).due(now=1000) is None
