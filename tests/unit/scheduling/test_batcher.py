"""Requests that wait together run together: which of them, in which order, and what becomes of each caller."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.errors import InferenceFailed
from service.scheduling.batcher import Batcher
from service.scheduling.queue import Batch, Done
from tests.unit.gate import Gate
from tests.unit.loop import SECONDS, let_pass, turns

Numbers = Batcher[int, int]
ENDLESS = 500


class Doubler:
    """Doubles the numbers of a batch, and remembers the batches. It fails for those that are too large.

    A batch that begins with 0 or 1000 waits at the gate.
    """

    def __init__(self) -> None:
        self.gate = Gate()
        self.ran: list[list[int]] = []

    def __call__(self, batch: list[int], together: Batch[int, int]) -> list[int]:
        self.ran.append(batch)
        if batch[0] in (0, 1000):
            self.gate.pass_through()
        if ENDLESS in batch:
            raise InferenceFailed("doubler", 1, terminated=True)
        if max(batch) > 99:
            raise LookupError(f"{max(batch)} is too large")
        return [2 * number for number in batch]


Scenario = Callable[[Numbers, Doubler], Coroutine[Any, Any, None]]


def play(
    scenario: Scenario, *, max_rows: int = 3, concurrency: int = 1, linger: float = 0, **options: Any
) -> list[list[int]]:
    """Run it with a batcher and its doubler; returns the batches that have run. No task may end unheard."""
    unheard: list[dict[str, Any]] = []

    async def run() -> list[list[int]]:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
        doubler = Doubler()
        with ThreadPoolExecutor(concurrency) as threads:
            batcher: Numbers = Batcher(
                doubler, threads, max_rows=max_rows, concurrency=concurrency, linger=linger, **options
            )
            async with asyncio.timeout(SECONDS + linger):
                await scenario(batcher, doubler)
        return doubler.ran

    ran = asyncio.run(run())
    assert unheard == []
    return ran


def ask(batcher: Numbers, number: int, rows: int = 1, key: str = "") -> asyncio.Task[Done[int]]:
    return asyncio.create_task(batcher.submit(number, rows, key))


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


def test_the_rows_of_every_run_are_told() -> None:
    told: list[int] = []

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        await batcher.submit(7, 5, "")
        asked = [ask(batcher, 1, rows=1), ask(batcher, 100, rows=2)]
        await asyncio.gather(*asked, return_exceptions=True)

    play(scenario, on_batch=told.append)
    assert told == [5, 3, 1, 2]


@pytest.mark.parametrize("numbers", [[1], [1, 2]])
def test_callers_are_told_when_the_threads_are_gone(numbers: list[int]) -> None:
    async def scenario() -> list[str]:
        threads = ThreadPoolExecutor(1)
        threads.shutdown()
        batcher: Numbers = Batcher(lambda batch, together: batch, threads, max_rows=3)
        outcomes = await asyncio.gather(*(ask(batcher, number) for number in numbers), return_exceptions=True)
        return [str(outcome) for outcome in outcomes]

    assert asyncio.run(scenario()) == ["cannot schedule new futures after shutdown"] * len(numbers)


def test_callers_are_told_when_their_number_is_not_that_of_the_results() -> None:
    async def scenario() -> list[str]:
        with ThreadPoolExecutor(1) as threads:
            batcher: Numbers = Batcher(lambda batch, together: batch[1:], threads, max_rows=3)
            outcomes = await asyncio.gather(ask(batcher, 1), ask(batcher, 2), return_exceptions=True)
        return [type(outcome).__name__ for outcome in outcomes]

    assert asyncio.run(scenario()) == ["ValueError", "ValueError"]


def test_callers_are_told_when_nobody_can_be_told_of_their_rows() -> None:
    def fail(rows: int) -> None:
        raise LookupError(f"nobody counts {rows}")

    async def scenario(batcher: Numbers, doubler: Doubler) -> None:
        outcomes = await asyncio.gather(ask(batcher, 1), ask(batcher, 2), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["nobody counts 1", "nobody counts 1"]

    assert play(scenario, on_batch=fail) == []
