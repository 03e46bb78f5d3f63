"""Requests that wait together run together: which of them, in which order, and what becomes of each caller."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from service.caller import Caller, ClientLeft
from service.deadline import NEVER, Deadline
from service.errors import DeadlineExceeded, InferenceFailed, InternalError, Interrupted
from service.scheduling.admission import Load
from service.scheduling.batcher import Batcher
from service.scheduling.queue import Batch, Done, Entry
from tests.unit.gate import Gate
from tests.unit.loop import SECONDS, let_pass, turns, until

Numbers = Batcher[int, int]
ENDLESS = 500
UNTIL_ABANDONED = -1
HOUR = 3600


class Doubler:
    """Doubles the numbers of a batch, and remembers the batches. It fails for those that are too large.

    A batch that begins with 0 or 1000 waits at the gate; one that begins with -1 until nobody waits for it any more.
    """

    def __init__(self) -> None:
        self.gate = Gate()
        self.ran: list[list[int]] = []

    def __call__(self, batch: list[int], together: Batch[int, int]) -> list[int]:
        self.ran.append(batch)
        if batch[0] == UNTIL_ABANDONED:
            together.when_abandoned(self.gate.open)
        if batch[0] in (0, 1000, UNTIL_ABANDONED):
            self.gate.pass_through()
        if ENDLESS in batch:
            raise InferenceFailed("doubler", 1, terminated=True)
        if max(batch) > 99:
            raise LookupError(f"{max(batch)} is too large")
        return [2 * number for number in batch]


Scenario = Callable[[Numbers, Doubler], Coroutine[Any, Any, None]]


def play(
    scenario: Scenario,
    *,
    max_rows: int = 3,
    concurrency: int = 1,
    linger: float = 0,
    passing: float = 0,
    threads: int = 0,
    **options: Any,
) -> list[list[int]]:
    """Run it with a batcher and its doubler; returns the batches that have run. `threads` are as many as runs at most.

    `passing` is how much time the scenario lets pass. No task may end unheard, and in the end nothing may wait or run.
    """
    unheard: list[dict[str, Any]] = []

    async def run() -> list[list[int]]:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
        doubler = Doubler()
        with ThreadPoolExecutor(threads or concurrency) as executor:
            batcher: Numbers = Batcher(
                doubler, executor, max_rows=max_rows, concurrency=concurrency, linger=linger, **options
            )
            async with asyncio.timeout(SECONDS + linger + passing):
                await scenario(batcher, doubler)
                await until(lambda: state(batcher) == (0, 0, 0, concurrency, None))
        return doubler.ran

    ran = asyncio.run(run())
    assert unheard == []
    return ran


def state(batcher: Numbers) -> tuple[int, int, int, int, object]:
    """Entries and rows that wait, batches that run, runs that could begin, and when one will."""
    queue = batcher._queue
    return len(queue), queue.rows, len(batcher._running), batcher._free, batcher._timer


def ask(batcher: Numbers, number: int, rows: int = 1, key: str = "", **wishes: Any) -> asyncio.Task[Done[int]]:
    return asyncio.create_task(batcher.submit(number, rows, key, **wishes))


def within(timeout: float) -> Deadline:
    return Deadline.after(timeout, monotonic())


async def results(asked: Sequence[asyncio.Task[Done[int]]]) -> list[int]:
    return [(await task).result for task in asked]


async def blocked(batcher: Numbers, doubler: Doubler) -> asyncio.Task[Done[int]]:
    """A run that is under way and will not end before the gate is opened."""
    first = ask(batcher, 0)
    await doubler.gate.begun.wait()
    return first


def test_a_request_has_its_result_and_its_times() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        done = await batcher.submit(21, 1, "")
        assert done.result == 42
        assert min(done.queue, done.run) >= 0

    assert play(scenario) == [[21]]


def test_an_idle_batcher_answers_at_once() -> None:
    """Nothing else is asked and no timer is set: the only thing that can wake it is the request itself."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        assert [(await batcher.submit(number, 1, "")).result for number in (1, 2, 3)] == [2, 4, 6]

    assert play(scenario) == [[1], [2], [3]]


def test_what_arrives_in_one_turn_of_the_loop_goes_together() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        assert await results([ask(batcher, number) for number in (1, 2, 3)]) == [2, 4, 6]

    assert play(scenario) == [[1, 2, 3]]


def test_while_a_batch_runs_the_next_one_fills() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        others = [ask(batcher, number) for number in (1, 2, 3, 4, 5)]
        await asyncio.sleep(0)
        assert doubler.ran == [[0]]
        doubler.gate.open()
        assert await results([first, *others]) == [0, 2, 4, 6, 8, 10]

    assert play(scenario) == [[0], [1, 2, 3], [4, 5]]


def test_rows_are_counted_rather_than_requests() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        others = [ask(batcher, number, rows=number) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        doubler.gate.open()
        await results([first, *others])

    assert play(scenario) == [[0], [1, 2], [3]]


def test_only_equal_keys_share_a_batch() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [ask(batcher, number, key="odd" if number % 2 else "even") for number in (1, 2, 3, 4)]
        assert await results(asked) == [2, 4, 6, 8]

    assert play(scenario) == [[1, 3], [2, 4]]


def test_as_many_batches_run_together_as_it_is_given() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        assert (await batcher.submit(1, 1, "")).result == 2
        doubler.gate.open()
        await first

    assert play(scenario, concurrency=2) == [[0], [1]]


def test_the_wait_is_told_apart_from_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100]
    for module in ("batcher", "queue"):
        monkeypatch.setattr(f"service.scheduling.{module}.perf_counter", lambda: now[0])

    async def scenario() -> list[tuple[float, float]]:
        gate = Gate()

        def run(batch: list[int], together: Batch[int, int]) -> list[int]:
            if batch == [0]:
                gate.pass_through()
            now[0] += 3
            return batch

        with ThreadPoolExecutor(1) as threads:
            batcher: Numbers = Batcher(run, threads, max_rows=1)
            first = ask(batcher, 0)
            await gate.begun.wait()
            now[0] += 4
            second = ask(batcher, 1)
            await asyncio.sleep(0)
            now[0] += 5
            gate.open()
            return [(done.queue, done.run) for done in (await first, await second)]

    assert asyncio.run(scenario()) == [(0, 4 + 5 + 3), (5 + 3, 3)]


def test_a_failing_batch_is_taken_apart_and_only_the_one_at_fault_fails() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [ask(batcher, number) for number in (1, 100, 3)]
        with pytest.raises(LookupError, match=r"^100 is too large$"):
            await asked[1]
        assert await results([asked[0], asked[2]]) == [2, 6]

    assert play(scenario) == [[1, 100, 3], [1], [100], [3]]


def test_each_one_at_fault_is_told_its_own_reason() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [ask(batcher, number) for number in (100, 200)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["100 is too large", "200 is too large"]

    assert play(scenario) == [[100, 200], [100], [200]]


def test_a_batch_that_took_too_long_is_not_taken_apart() -> None:
    """Each of its requests would take as long again."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [ask(batcher, number) for number in (1, ENDLESS, 3)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [InferenceFailed] * 3
        assert (await batcher.submit(4, 1, "")).result == 8

    assert play(scenario) == [[1, ENDLESS, 3], [4]]


def test_one_alone_that_fails_is_not_run_again() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        with pytest.raises(LookupError, match=r"^100 is too large$"):
            await batcher.submit(100, 1, "")

    assert play(scenario) == [[100]]


def test_a_failure_does_not_hold_up_what_comes_after_it() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        with pytest.raises(LookupError):
            await batcher.submit(100, 1, "")
        assert (await batcher.submit(1, 1, "")).result == 2

    assert play(scenario) == [[100], [1]]


def test_a_caller_that_leaves_while_it_waits_is_never_run() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        gone, last = ask(batcher, 1), ask(batcher, 2)
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        doubler.gate.open()
        assert await results([first, last]) == [0, 4]

    assert play(scenario) == [[0], [2]]


def test_a_caller_that_leaves_before_anything_runs_is_never_run() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        gone = ask(batcher, 1)
        await asyncio.sleep(0)
        gone.cancel()
        assert (await batcher.submit(2, 1, "")).result == 4

    assert play(scenario) == [[2]]


def test_a_caller_that_leaves_does_not_strand_its_batch_mates() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [ask(batcher, number) for number in (0, 1, 2)]
        await doubler.gate.begun.wait()
        asked[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked[1]
        doubler.gate.open()
        assert await results([asked[0], asked[2]]) == [0, 4]
        assert (await batcher.submit(3, 1, "")).result == 6

    assert play(scenario) == [[0, 1, 2], [3]]


def test_a_caller_that_has_left_a_failing_batch_is_not_run_again() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [ask(batcher, number) for number in (0, 100, 2)]
        await doubler.gate.begun.wait()
        asked[1].cancel()
        doubler.gate.open()
        assert await results([asked[0], asked[2]]) == [0, 4]

    assert play(scenario) == [[0, 100, 2], [0], [2]]


def test_a_caller_that_has_left_is_not_told_of_its_failure() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        gone = ask(batcher, 1000)
        await doubler.gate.begun.wait()
        gone.cancel()
        doubler.gate.open()
        assert (await batcher.submit(1, 1, "")).result == 2

    assert play(scenario) == [[1000], [1]]


def test_company_is_waited_for_when_that_is_wanted() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = ask(batcher, 1)
        await turns()
        assert doubler.ran == []
        second = ask(batcher, 2)
        await asyncio.sleep(0)
        let_pass(3600)
        assert await results([first, second]) == [2, 4]

    assert play(scenario, linger=3600) == [[1, 2]]


def test_a_full_batch_waits_for_nobody() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = ask(batcher, 1)
        await turns()
        assert doubler.ran == []
        others = [ask(batcher, number) for number in (2, 3)]
        assert await results([first, *others]) == [2, 4, 6]

    assert play(scenario, linger=3600) == [[1, 2, 3]]


def test_company_is_not_waited_for_while_something_runs() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = ask(batcher, 0)
        await turns()
        let_pass(3600)
        await doubler.gate.begun.wait()
        assert (await batcher.submit(1, 1, "")).result == 2
        doubler.gate.open()
        await first

    assert play(scenario, linger=3600, concurrency=2) == [[0], [1]]


def test_the_rows_and_the_time_of_every_run_that_succeeds_are_told() -> None:
    told: list[int] = []

    def hear(rows: int, seconds: float) -> None:
        assert seconds >= 0
        told.append(rows)

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        await batcher.submit(7, 5, "")
        asked = [ask(batcher, 1, rows=1), ask(batcher, 100, rows=2)]
        await asyncio.gather(*asked, return_exceptions=True)

    assert play(scenario, on_batch=hear) == [[7], [1, 100], [1], [100]]
    assert told == [5, 1]


@pytest.mark.parametrize("numbers", [[1], [1, 2]])
def test_callers_are_told_when_the_threads_are_gone(numbers: list[int]) -> None:
    async def scenario() -> list[str]:
        threads = ThreadPoolExecutor(1)
        threads.shutdown()
        batcher: Numbers = Batcher(lambda batch, together: batch, threads, max_rows=3)
        outcomes = await asyncio.gather(*(ask(batcher, number) for number in numbers), return_exceptions=True)
        return [str(outcome) for outcome in outcomes]

    assert asyncio.run(scenario()) == ["cannot schedule new futures after shutdown"] * len(numbers)


@pytest.mark.parametrize("numbers", [[1], [1, 2]])
def test_callers_are_told_when_their_run_is_dropped_before_it_begins(numbers: list[int]) -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        others = [ask(batcher, number) for number in numbers]
        await until(lambda: len(batcher._running) == 2)  # the second run waits for the only thread
        batcher._executor.shutdown(wait=False, cancel_futures=True)
        doubler.gate.open()
        assert (await first).result == 0
        outcomes = await asyncio.gather(*others, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Interrupted] * len(numbers)

    assert play(scenario, concurrency=2, threads=1) == [[0]]


def test_callers_are_told_when_their_number_is_not_that_of_the_results() -> None:
    async def scenario() -> list[str]:
        with ThreadPoolExecutor(1) as threads:
            batcher: Numbers = Batcher(lambda batch, together: batch[1:], threads, max_rows=3)
            outcomes = await asyncio.gather(ask(batcher, 1), ask(batcher, 2), return_exceptions=True)
        return [type(outcome).__name__ for outcome in outcomes]

    assert asyncio.run(scenario()) == ["ValueError", "ValueError"]


class Panic(BaseException):
    """As an extension in Rust raises it."""


def test_callers_are_told_of_what_is_no_exception_and_others_are_served() -> None:
    async def scenario() -> list[object]:
        def run(batch: list[int], together: Batch[int, int]) -> list[int]:
            if 13 in batch:
                raise Panic("an index is out of bounds")
            return batch

        with ThreadPoolExecutor(1) as threads:
            batcher: Numbers = Batcher(run, threads, max_rows=3)
            async with asyncio.timeout(SECONDS):
                asked = (ask(batcher, number) for number in (1, 13, 2))
                told: list[object] = list(await asyncio.gather(*asked, return_exceptions=True))
                last = await ask(batcher, 4)
        causes = [repr(each.__cause__) if isinstance(each, InternalError) else each.result for each in told]  # type: ignore[attr-defined]
        return [*causes, last.result]

    assert asyncio.run(scenario()) == [1, "Panic('an index is out of bounds')", 2, 4]


def test_callers_are_told_when_the_batch_itself_is_ended() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        [serving] = batcher._tasks
        serving.cancel()
        with pytest.raises(Interrupted):
            await first
        doubler.gate.open()

    assert play(scenario) == [[0]]


def test_callers_are_told_when_nobody_can_be_told_of_their_rows() -> None:
    def fail(rows: int, seconds: float) -> None:
        raise LookupError(f"nobody counts {rows}")

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        outcomes = await asyncio.gather(ask(batcher, 1), ask(batcher, 2), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["nobody counts 1", "nobody counts 1"]

    assert play(scenario, on_batch=fail) == [[1, 2], [1], [2]]


async def stage_of(task: asyncio.Task[Done[int]], error: type[Exception]) -> object:
    """Where the request was when it ended this way."""
    with pytest.raises(error) as caught:
        await task
    return vars(caught.value)["stage"]


@pytest.mark.parametrize("after", range(8))
def test_whenever_its_only_caller_leaves_a_run_does_not_begin_or_is_told(after: int) -> None:
    """Between any two turns of the loop: while it waits, when it is taken, before its thread has it, and in it."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        caller = Caller()
        task = ask(batcher, UNTIL_ABANDONED, caller=caller)
        await turns(after)
        caller.leave()
        stage = await stage_of(task, ClientLeft)
        assert stage in ("queue", "run")
        await until(lambda: state(batcher) == (0, 0, 0, 1, None))
        assert (doubler.ran != []) == (stage == "run")

    play(scenario)


def test_a_caller_that_leaves_in_the_queue_is_told_apart_from_one_that_leaves_in_the_run() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        callers = [Caller(), Caller()]
        running = ask(batcher, UNTIL_ABANDONED, caller=callers[0])
        await doubler.gate.begun.wait()
        waiting = ask(batcher, 1, caller=callers[1])
        await turns()
        callers[1].leave()
        assert await stage_of(waiting, ClientLeft) == "queue"
        assert state(batcher)[:2] == (0, 0)
        callers[0].leave()
        assert await stage_of(running, ClientLeft) == "run"

    assert play(scenario) == [[UNTIL_ABANDONED]]


def test_a_caller_that_has_left_before_is_never_run() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        caller = Caller()
        caller.leave()
        assert await stage_of(ask(batcher, 1, caller=caller), ClientLeft) == "queue"

    assert play(scenario) == []


def test_a_run_is_told_by_the_last_of_its_callers_only() -> None:
    """However they go: by leaving, by their deadline, or cancelled by the server."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        caller = Caller()
        asked = [
            ask(batcher, UNTIL_ABANDONED, caller=caller),
            ask(batcher, 2, deadline=within(HOUR)),
            ask(batcher, 3),
        ]
        await doubler.gate.begun.wait()
        caller.leave()
        assert await stage_of(asked[0], ClientLeft) == "run"
        let_pass(HOUR)
        assert await stage_of(asked[1], DeadlineExceeded) == "run"
        await turns()
        assert [batch.is_abandoned for batch in batcher._running] == [False]
        asked[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked[2]

    assert play(scenario, passing=9 * HOUR) == [[UNTIL_ABANDONED, 2, 3]]


def test_those_who_stay_have_their_results_when_others_go() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        caller = Caller()
        asked = [ask(batcher, 0), ask(batcher, 1, caller=caller), ask(batcher, 2, deadline=within(HOUR))]
        await doubler.gate.begun.wait()
        caller.leave()
        let_pass(HOUR)
        await turns()
        doubler.gate.open()
        assert (await asked[0]).result == 0
        assert [type(task.exception()) for task in asked[1:]] == [ClientLeft, DeadlineExceeded]

    assert play(scenario, passing=9 * HOUR) == [[0, 1, 2]]


def test_a_deadline_that_passes_in_the_queue_ends_the_request_there() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        asked = [ask(batcher, 1, deadline=within(HOUR)), ask(batcher, 2, deadline=within(3 * HOUR)), ask(batcher, 3)]
        await turns()
        let_pass(2 * HOUR)
        assert await stage_of(asked[0], DeadlineExceeded) == "queue"
        assert state(batcher)[:2] == (2, 2)
        doubler.gate.open()
        assert await results([first, *asked[1:]]) == [0, 4, 6]

    assert play(scenario, passing=9 * HOUR) == [[0], [2, 3]]


@pytest.mark.parametrize("linger", [0, HOUR])
def test_a_deadline_that_has_passed_before_is_never_run(linger: float) -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        assert await stage_of(ask(batcher, 1, deadline=within(-1)), DeadlineExceeded) == "queue"

    assert play(scenario, linger=linger) == []


@pytest.mark.parametrize("deadline", [NEVER, Deadline(), within(10**9)])
def test_whoever_has_time_has_it_in_any_case(deadline: Deadline) -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        second = ask(batcher, 1, deadline=deadline)
        await turns()
        let_pass(HOUR)
        await turns()
        doubler.gate.open()
        assert await results([first, second]) == [0, 2]

    assert play(scenario, passing=9 * HOUR) == [[0], [1]]


def test_those_who_have_gone_from_a_failing_batch_are_not_run_again() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        caller = Caller()
        asked = [
            ask(batcher, 0),
            ask(batcher, 100),
            ask(batcher, 2, caller=caller),
            ask(batcher, 3, deadline=within(HOUR)),
            ask(batcher, 4),
        ]
        await doubler.gate.begun.wait()
        caller.leave()
        let_pass(HOUR)
        await turns()
        doubler.gate.open()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Done, LookupError, ClientLeft, DeadlineExceeded, Done]

    assert play(scenario, passing=9 * HOUR, max_rows=5) == [[0, 100, 2, 3, 4], [0], [100], [4]]


def test_who_leaves_while_a_failed_batch_is_run_one_by_one_ends_where_it_is() -> None:
    """The second of it runs alone and is ended; the third is not run again, but it has run."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        callers = [Caller(), Caller()]
        asked = [
            ask(batcher, 100),
            ask(batcher, UNTIL_ABANDONED, caller=callers[0]),
            ask(batcher, 3, caller=callers[1]),
            ask(batcher, 4),
        ]
        await doubler.gate.begun.wait()
        for caller in reversed(callers):
            caller.leave()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [getattr(outcome, "stage", type(outcome)) for outcome in outcomes] == [LookupError, "run", "run", Done]

    assert play(scenario, max_rows=4) == [[100, UNTIL_ABANDONED, 3, 4], [100], [UNTIL_ABANDONED], [4]]


def test_what_is_left_of_a_batch_that_has_shrunk_to_one_is_not_run_twice() -> None:
    """Its mates leave after they were taken and before the run: the one that is left fails alone."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        entries = [Entry(number, 1, "", asyncio.get_running_loop().create_future()) for number in (1, 100)]
        entries[0].future.cancel()
        batcher._free -= 1
        await batcher._serve(entries, is_full=False)
        assert isinstance(entries[1].future.exception(), LookupError)

    assert play(scenario) == [[100]]


def test_the_more_urgent_run_first() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        others = [ask(batcher, number, priority=priority) for number, priority in ((1, 3), (2, 1), (3, 2), (4, 1))]
        await turns()
        doubler.gate.open()
        await results([first, *others])

    assert play(scenario, max_rows=1) == [[0], [2], [4], [3], [1]]


@pytest.mark.parametrize(("passed", "ran"), [(HOUR - 60, []), (HOUR + 60, [[1]])])
def test_nobody_waits_for_company_for_more_than_half_of_its_time(passed: float, ran: list[list[int]]) -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        task = ask(batcher, 1, deadline=within(2 * HOUR))
        await turns()
        let_pass(passed)
        await turns()
        assert doubler.ran == ran
        let_pass(HOUR)
        assert (await task).result == 2

    assert play(scenario, passing=9 * HOUR, linger=9 * HOUR) == [[1]]


def test_whoever_can_wait_the_least_decides_how_long_company_is_waited_for() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [
            ask(batcher, 1),
            ask(batcher, 2, deadline=within(2 * HOUR)),
            ask(batcher, 3, deadline=within(4 * HOUR)),
        ]
        await turns()
        assert doubler.ran == []
        let_pass(HOUR + 60)
        assert await results(asked) == [2, 4, 6]

    assert play(scenario, passing=9 * HOUR, linger=9 * HOUR, max_rows=4) == [[1, 2, 3]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which waits and runs are measured."""
    now = [100.0]
    for module in ("batcher", "queue"):
        monkeypatch.setattr(f"service.scheduling.{module}.perf_counter", lambda: now[0])
    return now


@pytest.mark.usefixtures("clock")
def test_where_a_run_may_begin_there_is_no_load() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        assert batcher.load() == Load()
        first = await blocked(batcher, doubler)
        assert batcher.load() == Load()
        others = [ask(batcher, number, rows=2) for number in (1, 2)]
        await asyncio.sleep(0)
        assert batcher.load().busy  # more than fit into the run that begins with the next turn
        doubler.gate.open()
        await results([first, *others])
        assert batcher.load() == Load()

    play(scenario, concurrency=2, pace=0.5)


def test_a_newcomer_finds_what_is_ahead_of_it(clock: list[float]) -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        assert batcher.load() == Load(True, 0, 0, 0.5, 0.5)
        clock[0] += 0.25
        others = [ask(batcher, number, rows=2, priority=number) for number in (1, 2)]
        await turns()
        assert [batcher.load(priority) for priority in (0, 1, 2, 3)] == [
            Load(True, 0, 0, 0.25, 0.5),
            Load(True, 1, 2, 1.25, 0.5),
            Load(True, 2, 4, 2.25, 0.5),
            Load(True, 2, 4, 2.25, 0.5),
        ]
        doubler.gate.open()
        await results([first, *others])

    play(scenario, pace=0.5)


@pytest.mark.usefixtures("clock")
def test_two_runs_at_a_time_halve_the_wait() -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        doubled = [await blocked(batcher, doubler), ask(batcher, 1000, key="other")]
        await until(lambda: len(doubler.ran) == 2)
        doubled.append(ask(batcher, 3, rows=3))
        await turns()
        assert batcher.load() == Load(True, 1, 3, (3 + 1 + 1) * 0.5 / 2, 0.5)
        doubler.gate.open()
        await asyncio.gather(*doubled, return_exceptions=True)

    play(scenario, concurrency=2, pace=0.5)


def test_before_anything_was_seen_only_the_run_itself_tells_how_long_it_takes(clock: list[float]) -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [await blocked(batcher, doubler)]
        asked.append(ask(batcher, 1))
        await turns()
        assert batcher.load() == Load(True, 1, 1, 0, 0)
        clock[0] += 6
        assert batcher.load() == Load(True, 1, 1, 2, 0)
        doubler.gate.open()
        await results(asked)

    play(scenario)


@pytest.mark.parametrize(
    ("rows", "others", "seen"),
    [
        pytest.param(1, [], 0, id="one that ran alone"),
        pytest.param(3, [], 2, id="a full one"),
        pytest.param(4, [], 1.5, id="a larger one"),
        pytest.param(2, ["other"], 3, id="one beside which nothing that waits may run"),
    ],
)
def test_only_runs_that_could_not_be_fuller_set_the_pace(
    clock: list[float], rows: int, others: list[str], seen: float
) -> None:
    """Else the first run of a burst, which is a small one, would have the rest of it refused."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        asked = [ask(batcher, 0, rows=rows), *(ask(batcher, 5, key=key) for key in others)]
        await doubler.gate.begun.wait()
        late = ask(batcher, 1)
        await turns()
        clock[0] += 6
        doubler.gate.open()
        await asked[0]
        assert batcher._pace.seconds == seen
        await results([*asked[1:], late])

    play(scenario)


def test_a_run_that_failed_says_nothing_of_the_pace(clock: list[float]) -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        with pytest.raises(LookupError):
            await batcher.submit(100, 3, "")
        assert batcher._pace.seconds == 0.5

    play(scenario, pace=0.5)


def test_what_comes_between_a_batch_and_its_run_does_not_make_it_a_full_one(clock: list[float]) -> None:
    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = ask(batcher, 0)
        await until(lambda: not batcher._free)
        assert not batcher._running
        late = Entry(1, 1, "", asyncio.get_running_loop().create_future())
        batcher._queue.put(late)
        await doubler.gate.begun.wait()
        clock[0] += 6
        doubler.gate.open()
        await first
        assert batcher._pace.seconds == 0
        await late.future

    play(scenario)


@pytest.mark.parametrize(("rows", "seen"), [(2, 5.0), (1, 5.0 - 0.2 * (5 - 4))])
def test_a_run_that_could_be_fuller_may_show_that_the_pace_is_better(
    clock: list[float], rows: int, seen: float
) -> None:
    """Else what one slow run has shown would be believed for ever where runs are seldom full."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = ask(batcher, 0, rows=rows)
        await doubler.gate.begun.wait()
        clock[0] += {1: 4, 2: 12}[rows]
        doubler.gate.open()
        await first
        assert batcher._pace.seconds == pytest.approx(seen)

    play(scenario, pace=5.0)


def test_runs_one_by_one_after_a_failure_do_not_slow_the_pace(clock: list[float]) -> None:
    """Others wait meanwhile, and could not come along."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        await asyncio.gather(*[ask(batcher, number) for number in (100, 1, 2, 3)], return_exceptions=True)
        assert batcher._pace.seconds == 0.5

    def take_long(rows: int, seconds: float) -> None:
        clock[0] += 60

    assert play(scenario, pace=0.5, on_batch=take_long) == [[100, 1, 2], [100], [1], [2], [3]]


def test_a_newcomer_finds_what_is_left_of_a_failed_batch(clock: list[float]) -> None:
    """Each of it runs by itself, which takes as long as the last that did, or at least as its rows."""

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        first = await blocked(batcher, doubler)
        clock[0] += 2  # what one alone takes
        doubler.gate.open()
        await first
        doubler.gate = Gate()
        asked = [ask(batcher, number, rows=rows) for number, rows in ((100, 1), (1000, 1), (1, 1), (2, 6))]
        await doubler.gate.begun.wait()
        caller = Caller()
        asked.append(ask(batcher, 3, caller=caller))
        await turns()
        assert batcher.load() == Load(True, 1, 1, (1 + 1) * 0.5 + 2 + 3, 0.5)
        caller.leave()
        asked[2].cancel()
        await turns()
        assert batcher.load() == Load(True, 0, 0, 1 * 0.5 + 3, 0.5)
        doubler.gate.open()
        await asyncio.gather(*asked, return_exceptions=True)
        assert batcher.load() == Load()

    assert play(scenario, max_rows=9, pace=0.5) == [[0], [100, 1000, 1, 2], [100], [1000], [2]]


class Tensors:
    """What a request carries, which a test can watch."""


class Failing:
    """A run that waits at the gate, and fails."""

    def __init__(self) -> None:
        self.gate = Gate()

    def __call__(self, batch: list[Tensors], together: Batch[Tensors, None]) -> list[None]:
        together.when_abandoned(self.gate.open)
        self.gate.pass_through()
        raise LookupError


@contextmanager
def without_the_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("end", ["fails", "leaves running", "expires running", "leaves waiting", "expires waiting"])
@pytest.mark.parametrize("mates", [0, 1])
def test_however_a_request_ends_its_tensors_go_at_once(end: str, mates: int) -> None:
    """Without the garbage collector, which comes by rarely; and what waits too long has grown old for it."""

    async def run() -> list[bool]:
        with ThreadPoolExecutor(1) as threads:
            failing = Failing()
            batcher: Batcher[Tensors, None] = Batcher(failing, threads, max_rows=2)
            callers: list[Caller] = []
            deadline = within(HOUR)

            def begin() -> tuple[list[weakref.ref[Tensors]], list[asyncio.Task[Done[None]]]]:
                carried = [Tensors() for _ in range(mates + 1)]
                callers[:] = [Caller() for _ in carried]
                tasks = [
                    asyncio.create_task(batcher.submit(each, 1, "", deadline=deadline, caller=caller))
                    for each, caller in zip(carried, callers, strict=True)
                ]
                return [weakref.ref(each) for each in carried], tasks

            first = begin()[1] if "waiting" in end else []
            if first:
                await failing.gate.begun.wait()
            watched, tasks = begin()
            await failing.gate.begun.wait()
            await turns()
            if "leaves" in end:
                for caller in callers:
                    caller.leave()
            elif "expires" in end:
                let_pass(HOUR)
            failing.gate.open()
            await asyncio.gather(*first, *tasks, return_exceptions=True)
            await until(lambda: batcher._free == 1)
            first.clear()
            tasks.clear()
            await turns()
        return [each() is None for each in watched]

    with without_the_collector():
        assert asyncio.run(run()) == [True] * (mates + 1)
