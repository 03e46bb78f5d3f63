"""What waits for a model: in which order it runs, who has gone, and what a batch hears of its callers."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from service.caller import ClientLeft
from service.deadline import NEVER, Deadline
from service.errors import DeadlineExceeded
from service.scheduling import queue as module
from service.scheduling.queue import Batch, Done, Entry, Queue, take_batch

Waiting = deque[Entry[str, None]]
PASSED = Deadline.after(1, -5)


@pytest.fixture(autouse=True)
def _at_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "monotonic", lambda: 100.0)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


class Line:
    """A queue, and the entries that have been put into it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.queue: Queue[str, None] = Queue(patience=30, give_up=LookupError)

    def put(self, request: str, rows: int = 1, priority: int = 0, deadline: Deadline = NEVER) -> Entry[str, None]:
        entry = Entry[str, None](request, rows, "", self._loop.create_future(), deadline, priority)
        self.queue.put(entry)
        return entry

    def end(self, entry: Entry[str, None]) -> None:
        """As whoever waits for it does."""
        entry.leave()
        assert isinstance(entry.future.exception(), ClientLeft)
        self.queue.forget(entry)

    @property
    def waits(self) -> tuple[int, int]:
        return len(self.queue), self.queue.rows


@pytest.fixture
def line(loop: asyncio.AbstractEventLoop) -> Line:
    return Line(loop)


@contextmanager
def waiting(*entries: str) -> Iterator[Waiting]:
    """Entries as text: a key, rows, and a minus where the caller has left, as in `a2-`; each is its own request."""
    loop = asyncio.new_event_loop()
    queue: Waiting = deque()
    for text in entries:
        future: asyncio.Future[Done[None]] = loop.create_future()
        queue.append(Entry(text, int(text[1:].rstrip("-")), text[0], future))
        if text.endswith("-"):
            future.cancel()
    yield queue
    loop.close()


def requests(entries: Sequence[Entry[str, None]] | Waiting) -> list[str]:
    return [entry.request for entry in entries]


@pytest.mark.parametrize(
    ("queue", "max_rows", "batch", "left"),
    [
        pytest.param([], 4, [], [], id="nothing waits"),
        pytest.param(["a1"], 4, ["a1"], [], id="one"),
        pytest.param(["a1", "a2", "a1"], 4, ["a1", "a2", "a1"], [], id="all that fit exactly"),
        pytest.param(["a1", "a2", "a2"], 4, ["a1", "a2"], ["a2"], id="as many as fit"),
        pytest.param(["a3", "a2", "a1"], 4, ["a3", "a1"], ["a2"], id="a smaller one goes past one that does not fit"),
        pytest.param(["a1", "a1", "a1"], 2, ["a1", "a1"], ["a1"], id="no look behind a full batch"),
        pytest.param(["a1", "a1"], 1, ["a1"], ["a1"], id="no batching"),
        pytest.param(["a9", "a1"], 4, ["a9"], ["a1"], id="an oversized one goes alone"),
        pytest.param(["a1", "a9", "a1"], 4, ["a1", "a1"], ["a9"], id="an oversized one waits until it is the oldest"),
        pytest.param(["a4", "a0"], 4, ["a4"], ["a0"], id="no rows wait behind a full batch"),
        pytest.param(["a0", "a0", "a4"], 4, ["a0", "a0", "a4"], [], id="no rows take no room"),
        pytest.param(["a1", "b1", "a1"], 4, ["a1", "a1"], ["b1"], id="only equal keys meet"),
        pytest.param(
            ["b1", "a1", "b1", "a1"], 4, ["b1", "b1"], ["a1", "a1"], id="those that are kept keep their order"
        ),
        pytest.param(["a2", "b1", "a3", "a1", "c1", "a1"], 4, ["a2", "a1", "a1"], ["b1", "a3", "c1"], id="all at once"),
        pytest.param(["a1-"], 4, [], [], id="a caller that has left is dropped"),
        pytest.param(["a1-", "b1", "a1"], 4, ["b1"], ["a1"], id="the oldest that is left decides the key"),
        pytest.param(["a2", "a3-", "a2"], 4, ["a2", "a2"], [], id="a caller that has left takes no room"),
        pytest.param(["a4", "a1-", "a1"], 4, ["a4"], ["a1-", "a1"], id="callers behind a full batch are not looked at"),
    ],
)
def test_the_oldest_runs_next_with_all_that_fit_beside_it(
    queue: list[str], max_rows: int, batch: list[str], left: list[str]
) -> None:
    with waiting(*queue) as entries:
        assert requests(take_batch(entries, max_rows)) == batch
        assert requests(entries) == left


def test_nothing_starves_however_many_others_come() -> None:
    with waiting("a9", "b1", "c4") as entries, waiting(*["a1"] * 100) as others:
        runs = []
        while any(entry.request != "a1" for entry in entries):
            entries.extend(others.popleft() for _ in range(3))
            runs.append(requests(take_batch(entries, 4)))
        assert runs == [["a9"], ["b1"], ["c4"]]


@pytest.mark.parametrize(("others", "batch"), [(255, ["a1", "a2"]), (256, ["a1"])])
def test_company_is_not_looked_for_in_all_of_a_long_queue(others: int, batch: list[str]) -> None:
    queue = ["a1", *["b1"] * others, "a2"]
    with waiting(*queue) as entries:
        assert requests(take_batch(entries, 4)) == batch
        assert requests(entries) == [request for request in queue if request not in batch]


def test_entries_come_out_in_the_order_in_which_they_came(line: Line) -> None:
    for request in "abc":
        line.put(request)
    assert requests(line.queue.take(2)) == ["a", "b"]
    assert requests(line.queue.take(2)) == ["c"]
    assert line.queue.take(2) == []


def test_the_more_urgent_come_out_first_and_equals_as_they_came(line: Line) -> None:
    for request, priority in (("a", 2), ("b", 1), ("c", 3), ("d", 2), ("e", 1), ("f", 3)):
        line.put(request, priority=priority)
    assert requests(line.queue.take(9)) == ["b", "e", "a", "d", "c", "f"]


@pytest.mark.parametrize(("seconds", "ended"), [(30, [None, None]), (31, [None, LookupError])])
def test_whoever_is_overtaken_after_all_its_patience_waits_no_longer(
    line: Line, seconds: float, ended: list[type[Exception] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those who are more urgent could hold it up for ever."""
    now = [100.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    equal, overtaken, gone = line.put("a", priority=1), line.put("b", priority=2), line.put("c", priority=2)
    line.end(gone)
    now[0] += seconds
    line.put("d", priority=2)
    line.put("e", priority=1)
    assert [type(each.future.exception()) if each.future.done() else None for each in (equal, overtaken)] == ended
    assert requests(line.queue.take(9)) == [*"ae", *("b" if None in ended[1:] else ""), "d"]


def test_what_waits_is_counted_until_it_is_taken(line: Line) -> None:
    assert (line.waits, bool(line.queue)) == ((0, 0), False)
    for rows in (1, 0, 4):
        line.put("a", rows)
    assert (line.waits, bool(line.queue)) == ((3, 5), True)
    line.queue.take(2)
    assert line.waits == (1, 4)
    line.queue.take(2)
    assert line.waits == (0, 0)


def test_an_entry_that_is_forgotten_counts_no_more_and_is_never_taken(line: Line) -> None:
    entries = [line.put(request, rows) for request, rows in (("a", 1), ("b", 2), ("c", 4))]
    line.end(entries[1])
    assert line.waits == (2, 5)
    assert requests(line.queue.take(9)) == ["a", "c"]
    assert line.waits == (0, 0)


@pytest.mark.parametrize("is_taken", [False, True])
def test_an_entry_is_forgotten_once(line: Line, is_taken: bool) -> None:
    entry, other = line.put("a", 2), line.put("b", 3)
    if is_taken:
        assert line.queue.take(2) == [entry]
    line.end(entry)
    for _ in range(2):
        line.queue.forget(entry)
    assert line.waits == (1, 3)
    assert line.queue.take(9) == [other]


def test_an_entry_that_ended_but_is_not_forgotten_yet_is_not_taken_and_then_counts_no_more(line: Line) -> None:
    entry = line.put("a", 2)
    entry.leave()
    assert (line.queue.take(9), line.waits) == ([], (1, 2))
    line.end(entry)
    assert line.waits == (0, 0)


def test_what_a_forgotten_entry_carried_is_free_and_what_runs_is_not(line: Line) -> None:
    """However long its place is kept: behind a run that does not end, those who go take their tensors along."""
    taken, gone = line.put("a"), line.put("b")
    line.queue.take(1)
    for entry in (taken, gone):
        line.end(entry)
    assert (taken.request, hasattr(gone, "request"), hasattr(gone, "future")) == ("a", False, False)


def test_places_of_those_who_have_gone_are_not_kept_for_ever(line: Line) -> None:
    first = line.put("first")
    for number in range(10_000):
        line.end(line.put(str(number)))
    last = line.put("last")
    assert line.waits == (2, 2)
    assert len(line.queue._waiting) < 1000
    assert line.queue.take(9) == [first, last]


def test_the_order_holds_when_places_are_given_up(line: Line) -> None:
    kept = []
    for number in range(900):
        entry = line.put(str(number), priority=number % 3)
        if number % 100 < 3:
            kept.append(entry)
        else:
            line.end(entry)
    assert line.queue.take(99) == sorted(kept, key=lambda entry: entry.priority)


@pytest.mark.parametrize(
    ("priority", "ahead"), [(0, (0, 0)), (1, (1, 1)), (2, (3, 7)), (3, (3, 7)), (4, (4, 15)), (5, (4, 15))]
)
def test_only_what_is_not_less_urgent_is_ahead(line: Line, priority: int, ahead: tuple[int, int]) -> None:
    for rows, urgency in ((2, 2), (1, 1), (4, 2), (8, 4)):
        line.put("a", rows, urgency)
    line.end(line.put("gone", 16, 2))
    assert line.queue.ahead_of(priority) == ahead


def test_nothing_is_ahead_where_nothing_waits(line: Line) -> None:
    assert line.queue.ahead_of(1) == (0, 0)


@pytest.mark.parametrize(
    ("at", "taken"), [(99.0, ["b"]), (100.0, ["b"]), (100.001, ["a", "b"]), (float("inf"), ["a", "b"])]
)
def test_an_entry_whose_time_is_over_is_not_taken(line: Line, at: float, taken: list[str]) -> None:
    entry = line.put("a", deadline=Deadline(at, 2.0))
    line.put("b")
    assert requests(line.queue.take(9)) == taken
    if "a" not in taken:
        assert str(entry.future.exception()) == "the request's timeout of 2000 ms passed in stage 'queue'"


def ended(entry: Entry[str, None]) -> tuple[type[BaseException], str]:
    error = entry.future.exception()
    assert isinstance(error, DeadlineExceeded | ClientLeft)
    return type(error), error.stage


def test_an_entry_ends_in_the_stage_that_it_is_in(line: Line) -> None:
    waits, left, expired, gone = (line.put(request, deadline=PASSED) for request in "abcd")
    waits.expire()
    left.leave()
    Batch([expired, gone])
    expired.expire()
    gone.leave()
    assert [ended(entry) for entry in (waits, left, expired, gone)] == [
        (DeadlineExceeded, "queue"),
        (ClientLeft, "queue"),
        (DeadlineExceeded, "run"),
        (ClientLeft, "run"),
    ]


def test_an_entry_ends_once(line: Line) -> None:
    """Whatever comes after the first end comes too late."""
    entry = line.put("a", deadline=PASSED)
    entry.expire()
    entry.leave()
    entry.fail(LookupError())
    assert ended(entry) == (DeadlineExceeded, "queue")
    answered = line.put("b", deadline=PASSED)
    answered.future.set_result(Done(None, 0, 0))
    answered.expire()
    answered.leave()
    assert answered.future.exception() is None


class Alarm:
    def __init__(self) -> None:
        self.rang = 0

    def __call__(self) -> None:
        self.rang += 1


def test_a_batch_is_abandoned_when_the_last_of_its_callers_has_gone(line: Line) -> None:
    alarm, entries = Alarm(), [line.put("a", 2), line.put("b", 3)]
    batch = Batch(entries)
    assert (batch.rows, [entry.batch for entry in entries]) == (5, [batch, batch])
    batch.when_abandoned(alarm)
    seen = []
    for entry in entries:
        batch.look()
        entry.leave()
        ended(entry)
        batch.look()
        seen.append((batch.is_abandoned, alarm.rang))
    batch.look()
    assert (seen, alarm.rang) == ([(False, 0), (True, 1)], 1)


def test_a_run_that_asks_late_hears_at_once_that_nobody_waits(line: Line) -> None:
    """Its thread may come to it after they have gone."""
    alarm, entry = Alarm(), line.put("a")
    batch = Batch([entry])
    entry.leave()
    ended(entry)
    batch.look()
    batch.when_abandoned(alarm)
    assert alarm.rang == 1


def test_a_run_need_not_ask(line: Line) -> None:
    entry = line.put("a")
    batch = Batch([entry])
    entry.leave()
    ended(entry)
    batch.look()
    assert batch.is_abandoned


def test_a_batch_and_its_entries_part(line: Line) -> None:
    """Else they would know one another, and keep their tensors, until the garbage collector comes by."""
    entry = line.put("a")
    batch = Batch([entry])
    batch.disband()
    assert (entry.batch, batch.entries, batch.rows) == (None, [], 1)
