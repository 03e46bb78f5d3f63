"""The shared rows: moves, verdicts, seats, and that another process sees them."""

import os
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from service.board import Board, Verdict, Worker
from service.rows import MOVES, State, WorkerRow
from service.seat import Seat

# From Python 3.12 on; the child only writes to the board and leaves.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
PATHS = {
    State.FREE: (),
    State.STARTING: (State.STARTING,),
    State.READY: (State.STARTING, State.READY),
    State.DRAINING: (State.STARTING, State.READY, State.DRAINING),
    State.STOPPED: (State.STARTING, State.STOPPED),
}
LEGAL = {
    (State.FREE, State.STARTING),
    (State.STARTING, State.READY),
    (State.STARTING, State.STOPPED),
    (State.READY, State.DRAINING),
    (State.READY, State.STOPPED),
    (State.DRAINING, State.STOPPED),
}


def bring(row: WorkerRow, state: State) -> WorkerRow:
    """A row that never beat, so its silence is as long as the machine is up."""
    for step in PATHS[state]:
        row.move(step)
    return row


def board(*states: State, generation: int = 1, models: int = 1) -> Board:
    """Of a service that wants a worker in each of these states."""
    made = Board(slots=len(states) or 1)
    made.service.workers = len(states)
    made.service.commit(generation, models)
    made.service.slots_used = len(states)
    for row, state in zip(made.rows, states, strict=False):
        bring(row, state)
    return made


def in_a_child(work: Callable[[], object]) -> None:
    """Run it in a forked process and wait for its end."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(("old", "new"), list(product(State, State)))
def test_a_worker_moves_along_the_table_only(old: State, new: State) -> None:
    row = bring(Board(slots=1).rows[0], old)
    if (old, new) in LEGAL:
        row.move(new)
        assert row.state is new
    else:
        with pytest.raises(ValueError, match=f"^a worker cannot go from {old.name} to {new.name}$"):
            row.move(new)
        assert row.state is old


def test_the_table_has_every_state() -> None:
    assert {(old, new) for old, to in MOVES.items() for new in to} == LEGAL
    assert MOVES.keys() == set(State)


@FORKS
def test_another_process_sees_the_rows() -> None:
    shared = board(State.FREE, State.FREE)

    def work() -> None:
        row = shared.rows[shared.occupy()]
        row.adopt()
        row.serve(7)
        row.connections = 5
        row.text = "zwölf"
        os.write(writer, f"{os.getpid()}".encode())
        row.move(State.READY)

    reader, writer = os.pipe()
    in_a_child(work)
    pid = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    [worker] = shared.workers()
    assert worker == Worker(0, pid, "READY", 7, 5, worker.silent_seconds, "zwölf")
    assert 0 <= worker.silent_seconds < 60


@FORKS
def test_another_process_sees_the_service() -> None:
    shared = board(State.READY)

    def work() -> None:
        shared.service.workers = 3
        shared.service.started = True
        shared.service.terminating = True
        shared.service.commit(5, 9)

    in_a_child(work)
    service = shared.service
    facts = (service.workers, service.started, service.terminating, service.generation, service.models)
    assert facts == (3, True, True, 5, 9)


def test_a_commit_says_what_it_replaces() -> None:
    service = Board(slots=1).service
    told = []
    for generation in (1, 4, 5):
        service.commit(generation, 1)
        told.append((service.before, service.generation))
    assert told == [(0, 1), (1, 4), (4, 5)]


def test_the_lowest_free_slot_is_taken() -> None:
    shared = board(State.FREE, State.FREE, State.FREE)
    assert [shared.occupy(), shared.occupy(), shared.occupy()] == [0, 1, 2]
    shared.rows[1].clear()
    assert shared.occupy() == 1


def test_slots_that_were_never_taken_are_not_looked_at() -> None:
    shared = Board(slots=4)
    assert (shared.workers(), list(shared.occupied())) == ([], [])
    shared.occupy()
    shared.rows[shared.occupy()].clear()
    assert shared.service.slots_used == 2
    assert list(shared.occupied()) == shared.rows[:1]
    assert [worker.slot for worker in shared.workers()] == [0]


def test_a_slot_is_taken_anew() -> None:
    shared = board(State.STOPPED)
    row = shared.rows[0]
    row.adopt()
    row.serve(3)
    row.connections = 5
    row.text = "old"
    row.occupy()
    assert (row.pid, row.state, row.generation, row.connections, row.text) == (0, State.STARTING, 0, 0, "")
    assert row.silent_seconds < 60


def test_a_beat_ends_the_silence() -> None:
    row = board(State.READY).rows[0]
    before = row.silent_seconds
    row.beat()
    assert row.silent_seconds < before


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        ("zwölf", "zwölf"),
        ("x" * 382, "x" * 382),
        ("x" * 383, "x" * 382),
        ("x" + "é" * 191, "x" + "é" * 190 + "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_text_is_cut_to_its_place(text: str, read: str) -> None:
    shared = board(State.READY, State.READY)
    shared.rows[0].text = text
    assert [row.text for row in shared.rows] == [read, ""]
    assert [row.state for row in shared.rows] == [State.READY, State.READY]


def test_a_shorter_text_replaces_a_longer_one() -> None:
    row = board(State.READY).rows[0]
    row.text = "a long one"
    row.text = "short"
    assert row.text == "short"


@pytest.mark.parametrize(
    ("states", "note", "completes"),
    [
        ([State.READY], "", True),
        ([State.READY, State.READY], "", True),
        ([State.READY, State.STARTING], "", False),
        ([State.DRAINING, State.READY], "", False),
    ],
)
def test_the_last_worker_completes_the_start(states: list[State], note: str, completes: bool) -> None:
    shared = board(*states)
    assert shared.note_start() is completes
    assert shared.service.started is completes
    assert not shared.note_start()


def noted(shared: Board, note: str) -> Board:
    shared.service.text = note
    return shared


def started(shared: Board, *, terminating: bool = False) -> Board:
    shared.service.started = True
    shared.service.terminating = terminating
    return shared


def ailing(shared: Board) -> Board:
    shared.rows[0].text = "no memory"
    return shared


@pytest.mark.parametrize(
    ("shared", "verdict"),
    [
        (started(board(State.FREE)), Verdict(True)),
        (board(State.FREE, generation=0), Verdict(False, ("the models are not prepared yet",))),
        (noted(board(State.FREE, generation=0), "preparing cat"), Verdict(False, ("preparing cat",))),
        (board(State.READY, State.FREE), Verdict(False, ("1 of 2 workers are ready",))),
        (
            ailing(board(State.STARTING, State.DRAINING, State.READY)),
            Verdict(
                False,
                ("1 of 3 workers are ready", "worker 0 is STARTING: no memory", "worker 1 is DRAINING"),
            ),
        ),
    ],
)
def test_a_service_has_started_once_all_workers_were_ready(shared: Board, verdict: Verdict) -> None:
    assert shared.started() == verdict
    if not verdict.yes:
        assert shared.ready() == verdict


@pytest.mark.parametrize(
    ("shared", "verdict"),
    [
        (started(board(State.READY, State.STARTING)), Verdict(True)),
        (started(board(State.READY), terminating=True), Verdict(False, ("the service is draining",))),
        (started(board(State.READY, models=0)), Verdict(False, ("the repository has no model",))),
        (started(board(State.FREE)), Verdict(False, ("no worker is ready",))),
        (
            started(ailing(board(State.STOPPED, State.STARTING))),
            Verdict(False, ("no worker is ready", "worker 0 is STOPPED: no memory", "worker 1 is STARTING")),
        ),
    ],
)
def test_a_service_is_ready_while_one_worker_is(shared: Board, verdict: Verdict) -> None:
    assert shared.ready() == verdict


@pytest.mark.parametrize("states", [[], [State.STARTING], [State.FREE]])
def test_a_service_without_a_loop_yet_is_live(states: list[State]) -> None:
    assert board(*states).live(1) == Verdict(True)


def test_a_service_is_live_while_one_loop_beats() -> None:
    shared = board(State.READY, State.READY, State.STARTING)
    verdict = shared.live(1)
    assert not verdict.yes
    assert re.fullmatch(r"every worker's event loop has been silent for \d+ s or more", "; ".join(verdict.reasons))
    shared.rows[1].beat()
    assert shared.live(60) == Verdict(True)


def test_a_process_without_a_master_sits_alone() -> None:
    seat = Seat()
    assert (seat.slot, seat.directory, seat.board.service.workers) == (0, None, 1)
    assert (seat.row.pid, seat.row.state, len(seat.board.rows)) == (os.getpid(), State.STARTING, 1)


def test_a_shared_seat_is_taken_after_the_fork() -> None:
    seat, shared = Seat(), board(State.FREE, State.FREE, generation=3)
    seat.share(shared, Path("/run/onnicorn"))
    assert (seat.board, seat.slot) == (shared, None)
    assert seat.manifest_of(4) == Path("/run/onnicorn/generation-4.json")
    shared.occupy()
    seat.take(shared.occupy())
    assert (seat.slot, seat.row.pid, shared.rows[0].pid) == (1, os.getpid(), 0)


def test_of_workers_that_complete_the_start_together_one_is_told(tmp_path: Path) -> None:
    board = Board(slots=2)
    board.service.workers = 2
    seats = [Seat(), Seat()]
    for seat in seats:
        seat.share(board, tmp_path)
        seat.take(board.occupy())
        seat.row.move(State.READY)
    told = []
    for seat in seats:
        board.service.started = False  # as each sees it that looks before the other has said so
        told.append(seat.completes_start())
    assert told == [True, False]


def test_a_worker_that_leaves_alone_keeps_the_service_ready_for_as_long_as_it_accepts() -> None:
    shared = board(State.READY, generation=1)
    shared.service.started = True
    shared.service.commit(1, 1)
    [row] = shared.rows
    row.accepts = True
    row.move(State.DRAINING)
    assert shared.ready().yes
    row.accepts = False
    assert not shared.ready().yes
