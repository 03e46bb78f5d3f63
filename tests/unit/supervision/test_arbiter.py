"""What stands in place of Gunicorn's own methods, around real children, and the methods that it rests on."""

import hashlib
import inspect
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from structlog.testing import capture_logs

from service.board import Board
from service.rows import State
from service.supervision import arbiter
from service.supervision.breaker import GiveUp
from service.supervision.exits import Ended, Reason

# From Python 3.12 on; these children only leave.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

# Of the sources as they were when `arbiter.py` and `master.py` were written. Where one has changed, read what it does
# now, decide whether what we put in its place still holds, and only then write the new digest here.
READ = {
    "start": "92668bdb3e86b1af",
    "init_signals": "68125f99ad6599b1",
    "kill_worker": "47e1a8ccdca2b567",
    "run": "1ddfab9d644f3a73",
    "stop": "7138b6afd9c46ae0",
    "halt": "f080672e7413f835",
    "handle_chld": "f670beb34ee3d981",
    "handle_hup": "50de80005cd672c7",
    "reload": "fec344d2f774ee32",
    "handle_usr2": "98628cac010eeeb6",
    "manage_workers": "518f2dd040ef6809",
    "spawn_workers": "8fd09f6b3f3e5047",
    "spawn_worker": "6abc0d90b0b9f80b",
    "murder_workers": "3f8fbfdf473fe338",
    "reap_workers": "ebcf4187e9ebf378",
}


@pytest.mark.parametrize("name", READ)
def test_gunicorns_method_is_the_one_that_was_read(name: str) -> None:
    source = inspect.getsource(getattr(Arbiter, name))
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == READ[name], f"Arbiter.{name} has changed:\n{source}"


class File:
    """A worker's heartbeat file."""

    closed = False

    def close(self) -> None:
        self.closed = True


class Child:
    """Gunicorn's object for one worker, with a real process behind it that does `work` and leaves with 9."""

    def __init__(self, slot: int = 0, work: Callable[[], None] = lambda: None, aborted: bool = False) -> None:
        self.slot, self.born, self.aborted, self.tmp = slot, 5.0, aborted, File()
        self.asked: Reason | None = None
        self.pid = os.fork()
        if not self.pid:
            work()
            os._exit(9)


class Server:
    """The arbiter, as far as it is used."""

    def __init__(self, *workers: Child) -> None:
        self.WORKERS = {worker.pid: worker for worker in workers}
        self.LISTENERS = ["listener"]
        self.calls: list[str] = []

    def stop(self, graceful: bool) -> None:
        self.calls.append(f"stop {graceful}")

    def manage_workers(self) -> None:
        self.calls.append("manage")
        self.spawn_workers()

    def spawn_workers(self) -> None:
        self.calls.append("spawn")


class Duties:
    """Notes what it is told; gives up if it has a reason to."""

    def __init__(self, may: bool = True, reason: str | None = None) -> None:
        self.may, self.reason = may, reason
        self.ended: list[Ended] = []
        self.looks: list[Any] = []
        self.reloads = 0

    def may_fork(self) -> bool:
        return self.may

    def reload(self) -> None:
        self.reloads += 1

    def look(self, api_listeners: list[Any]) -> None:
        self.looks.append(api_listeners)
        self._give_up()

    def worker_ended(self, ended: Ended) -> None:
        self.ended.append(ended)
        self._give_up()

    def _give_up(self) -> None:
        if self.reason is not None:
            raise GiveUp(self.reason)


def taken_over(server: Server, duties: Duties, board: Board | None = None) -> Any:
    arbiter.take_over(server, board or Board(slots=1), duties)
    return server


def wait_for(child: Child) -> None:
    """Until it has ended, and leave it to be reaped."""
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def exit_code(child: Child) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])


@pytest.mark.parametrize(("aborted", "asked"), [(False, None), (True, Reason.ABORTED)])
def test_a_worker_is_reaped_with_its_exit_code(aborted: bool, asked: Reason | None) -> None:
    child, duties = Child(aborted=aborted), Duties()
    server = taken_over(Server(child), duties)
    wait_for(child)
    server.reap_workers()
    assert duties.ended == [Ended(child.pid, slot=0, code=9, born=5.0, asked=asked)]
    assert (server.WORKERS, child.tmp.closed) == ({}, True)


def test_a_worker_is_reaped_with_the_signal_that_ended_it() -> None:
    child, duties = Child(work=lambda: os.kill(os.getpid(), signal.SIGKILL)), Duties()
    server = taken_over(Server(child), duties)
    wait_for(child)
    server.reap_workers()
    assert [ended.code for ended in duties.ended] == [-signal.SIGKILL]


def test_a_child_that_is_no_worker_is_reaped_and_nobody_is_told() -> None:
    child, duties = Child(), Duties()
    server = taken_over(Server(), duties)
    wait_for(child)
    server.reap_workers()
    assert duties.ended == []
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)


def test_readiness_ends_before_the_listeners_do() -> None:
    board = Board(slots=1)
    server = taken_over(Server(), Duties(), board)
    server.stop(False)
    assert board.service.terminating
    assert server.calls == ["stop False"]


@pytest.mark.parametrize(("may", "calls"), [(True, ["manage", "spawn"]), (False, ["manage"])])
def test_each_pass_looks_and_starts_who_is_missing_when_that_is_due(may: bool, calls: list[str]) -> None:
    duties = Duties(may)
    server = taken_over(Server(), duties)
    server.manage_workers()
    assert (server.calls, duties.looks) == (calls, [["listener"]])


@pytest.mark.parametrize(("reason", "said"), [("hopeless", ["hopeless"]), ("", [])])
def test_giving_up_halts_gunicorn_and_says_so_once_at_most(reason: str, said: list[str]) -> None:
    server = taken_over(Server(), Duties(reason=reason))
    with capture_logs() as records, pytest.raises(HaltServer) as halted:
        server.manage_workers()
    assert (halted.value.exit_status, [record["reason"] for record in records]) == (1, said)


def test_giving_up_does_not_wait_for_those_that_still_load() -> None:
    board = Board(slots=2)
    loading, ready = Child(board.occupy(), signal.pause), Child(board.occupy(), signal.pause)
    board.rows[ready.slot].move(State.READY)
    server = taken_over(Server(loading, ready), Duties(reason="hopeless"), board)
    with pytest.raises(HaltServer):
        server.manage_workers()
    wait_for(loading)
    os.kill(ready.pid, signal.SIGTERM)
    assert (loading.asked, ready.asked) == (Reason.STOPPED, None)
    assert [exit_code(child) for child in (loading, ready)] == [-signal.SIGKILL, -signal.SIGTERM]


def test_no_second_master_is_started() -> None:
    server = taken_over(Server(), Duties())
    with capture_logs() as records:
        server.handle_usr2()
    assert [record["signal"] for record in records] == ["USR2"]


def test_a_hang_up_asks_for_a_reload_and_replaces_nobody() -> None:
    duties = Duties()
    taken_over(Server(), duties).handle_hup()
    assert duties.reloads == 1
