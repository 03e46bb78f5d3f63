"""Portions in their order, a few at a time; whoever leaves, waits or is slow."""

import asyncio
import gzip
import zlib
from collections.abc import Coroutine, Iterable
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message

from service.caller import Caller, ClientLeft
from service.deadline import NEVER, Deadline
from service.errors import DeadlineExceeded, MalformedRequest, Overloaded
from service.web.stream import PART, Reply, Window, Windows, answers, patiently, while_heard
from tests.unit.loop import let_pass, turns


class Source:
    """Numbers up to a size, each only when it is let; then an error, or the end."""

    def __init__(self, size: int, error: Exception | None = None, open_to: int = 100) -> None:
        self.asked = 0
        self._size = size
        self._error = error
        self._let = asyncio.Semaphore(open_to)

    def let(self) -> None:
        self._let.release()

    async def take(self) -> int | None:
        self.asked += 1
        await self._let.acquire()
        if self.asked <= self._size:
            return self.asked
        if self._error:
            raise self._error
        return None


class Workshop:
    """Works on portions until told that each is done; it remembers those that have begun, and those cancelled."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self._done: dict[int, asyncio.Future[str]] = {}

    async def work(self, portion: int) -> str:
        self.begun.append(portion)
        self._done[portion] = asyncio.get_running_loop().create_future()
        try:
            return await self._done[portion]
        except asyncio.CancelledError:
            self.cancelled.append(portion)
            raise

    def finish(self, portion: int) -> None:
        self._done[portion].set_result(f"answer {portion}")

    def fail(self, portion: int) -> None:
        self._done[portion].set_exception(ValueError(portion))


class Reader:
    """Whoever takes the answers, each as soon as it is there."""

    def __init__(self, source: Source, workshop: Workshop) -> None:
        self.read: list[str] = []
        self.error: Exception | None = None
        self.task = asyncio.create_task(self._read(source, workshop))

    async def _read(self, source: Source, workshop: Workshop) -> None:
        try:
            async with aclosing(answers(source.take, workshop.work)) as ready:
                async for answer in ready:
                    self.read.append(answer)
        except Exception as error:
            self.error = error


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_answers_come_in_the_order_of_their_portions() -> None:
    async def scenario() -> None:
        workshop = Workshop()
        reader = Reader(Source(3), workshop)
        await turns(20)
        workshop.finish(2)
        await turns(20)
        assert reader.read == []
        workshop.finish(1)
        await turns(20)
        assert reader.read == ["answer 1", "answer 2"]
        workshop.finish(3)
        await reader.task
        assert (reader.read, reader.error) == (["answer 1", "answer 2", "answer 3"], None)

    play(scenario())


def test_a_portion_is_taken_only_when_there_is_room_for_it() -> None:
    async def scenario() -> None:
        workshop, source = Workshop(), Source(9)
        Reader(source, workshop)
        await turns(20)
        assert (workshop.begun, source.asked) == ([1, 2], 2)
        workshop.finish(2)  # it waits for the one before it
        await turns(20)
        assert (workshop.begun, source.asked) == ([1, 2], 2)
        workshop.finish(1)
        await turns(20)
        assert (workshop.begun, source.asked) == ([1, 2, 3, 4], 4)

    play(scenario())


def test_nothing_is_taken_for_whoever_does_not_read() -> None:
    async def scenario() -> None:
        workshop, source = Workshop(), Source(9)
        ready = answers(source.take, workshop.work)
        first = asyncio.ensure_future(anext(ready))
        await turns(20)
        for portion in (1, 2):
            workshop.finish(portion)
        await turns(20)
        assert (first.result(), source.asked) == ("answer 1", 2)
        await ready.aclose()

    play(scenario())


def test_an_answer_does_not_wait_for_what_comes_next() -> None:
    """A client may wait for it before it sends more."""

    async def scenario() -> None:
        workshop, source = Workshop(), Source(9, open_to=1)
        reader = Reader(source, workshop)
        await turns(20)
        workshop.finish(1)
        await turns(20)
        assert reader.read == ["answer 1"]
        source.let()
        await turns(20)
        assert workshop.begun == [1, 2]

    play(scenario())


def test_what_was_taken_is_answered_before_an_error_in_taking_is_raised() -> None:
    async def scenario() -> None:
        workshop, error = Workshop(), MalformedRequest("enough")
        reader = Reader(Source(2, error, open_to=2), workshop)
        await turns(20)
        for portion in (1, 2):
            workshop.finish(portion)
            await turns(20)
        assert reader.read == ["answer 1", "answer 2"]
        assert not reader.task.done()

        other = Reader(Source(1, error), workshop)
        await turns(20)
        assert not other.task.done()
        workshop.finish(1)
        await other.task
        assert (other.read, other.error) == (["answer 1"], error)

    play(scenario())


def test_a_client_that_has_left_gets_no_more_answers() -> None:
    async def scenario() -> None:
        workshop, left = Workshop(), ClientLeft("body")
        reader = Reader(Source(1, left), workshop)
        await reader.task
        assert (reader.read, reader.error, workshop.cancelled) == ([], left, [1])

    play(scenario())


def test_an_error_in_the_work_ends_all_of_it() -> None:
    async def scenario() -> None:
        workshop = Workshop()
        reader = Reader(Source(9), workshop)
        await turns(20)
        workshop.fail(1)
        await reader.task
        assert (str(reader.error), workshop.cancelled) == ("1", [2])

    play(scenario())


def test_whoever_stops_reading_stops_the_work() -> None:
    async def scenario() -> None:
        workshop = Workshop()
        reader = Reader(Source(9), workshop)
        await turns(20)
        reader.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader.task
        assert workshop.cancelled == [1, 2]

    play(scenario())


def test_nothing_has_no_answers() -> None:
    async def scenario() -> None:
        reader = Reader(Source(0), Workshop())
        await reader.task
        assert (reader.read, reader.error) == ([], None)

    play(scenario())


class Busy:
    """Refuses so many times; it remembers when it was asked."""

    def __init__(self, times: int, retry_after: float = 0.5) -> None:
        self.asked: list[float] = []
        self._left = times
        self._retry_after = retry_after

    async def ask(self) -> str:
        self.asked.append(asyncio.get_running_loop().time())
        self._left -= 1
        if self._left >= 0:
            raise Overloaded("too much", "wait", self._retry_after)
        return "done"


def test_who_is_patient_asks_again_when_it_makes_sense() -> None:
    async def scenario() -> None:
        busy = Busy(3)
        waiting = asyncio.create_task(patiently(busy.ask, NEVER))
        for times in (1, 2, 3):
            await turns(20)
            assert len(busy.asked) == times
            let_pass(0.4)
            await turns(20)
            assert len(busy.asked) == times
            let_pass(0.2)
        assert await waiting == "done"

    play(scenario())


def test_patience_has_the_deadlines_end() -> None:
    async def scenario() -> None:
        deadline = Deadline.after(0.001, asyncio.get_running_loop().time())
        with pytest.raises(DeadlineExceeded, match="queue"):
            await patiently(Busy(1000).ask, deadline)

    play(scenario())


@pytest.mark.parametrize("early", [False, True])
def test_work_ends_when_nobody_waits_for_it(early: bool) -> None:
    async def scenario() -> None:
        caller, workshop = Caller(), Workshop()

        async def work() -> None:
            await workshop.work(1)

        task = asyncio.create_task(while_heard(caller, work()))
        if not early:
            await turns(20)
        caller.leave()
        with pytest.raises(ClientLeft) as left:
            await task
        assert (left.value.stage, workshop.cancelled) == ("run", [1])

    play(scenario())


def test_a_server_that_cancels_is_no_client_that_left() -> None:
    async def scenario() -> None:
        workshop = Workshop()
        task = asyncio.create_task(while_heard(Caller(), workshop.work(1)))  # type: ignore[arg-type]
        await turns(20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(scenario())


HEADERS = [(b"content-type", b"text/plain")]


def sent(steps: Iterable[str | bytes], coding: str | None = None) -> list[Message]:
    """By a reply to which texts are added, and with which these things are done."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def scenario() -> None:
        reply = Reply(send, HEADERS, coding)
        for step in steps:
            await (reply.add(step) if isinstance(step, bytes) else getattr(reply, step)())

    asyncio.run(scenario())
    return messages


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


START = {"type": "http.response.start", "status": 200, "headers": HEADERS}


def test_a_reply_is_sent_in_parts() -> None:
    assert sent(["begin", b"a", b"b", "flush", "flush", b"c", "end"]) == [
        START,
        part(b""),
        part(b"ab"),
        part(b"c", more=False),
    ]


def test_the_head_goes_with_the_first_part() -> None:
    assert sent([b"a", "end"]) == [START, part(b"a", more=False)]
    assert sent([b"a"]) == []


def test_much_is_sent_at_once() -> None:
    assert sent([b"x" * (PART - 1), b"yz", b"!"]) == [START, part(b"x" * (PART - 1) + b"yz")]


def test_a_long_text_is_sent_in_pieces_and_kept_but_once() -> None:
    text = bytes(2 * PART) + b"ab"
    assert sent([b"1", text, b"c", "flush"]) == [START, *map(part, [b"1", bytes(PART), bytes(PART), b"ab", b"c"])]


@pytest.mark.parametrize("size", [10, PART - 6])
@pytest.mark.parametrize(("coding", "bits"), [("gzip", 31), ("deflate", 15)])
def test_each_part_of_a_compressed_reply_can_be_read_when_it_comes(coding: str, bits: int, size: int) -> None:
    text = b"0123456789" * (size // 10)
    start, *parts = sent([text, "flush", text, "flush", "end"], coding)
    reader = zlib.decompressobj(bits)
    assert [reader.decompress(message["body"]) for message in parts] == [text, text, b""]
    assert reader.eof
    assert start["headers"] == [*HEADERS, (b"content-encoding", coding.encode()), (b"vary", b"accept-encoding")]


def test_a_compressed_reply_may_be_empty() -> None:
    _, last = sent(["end"], "gzip")
    assert gzip.decompress(last["body"]) == b""


def lane_of(threads: int, rows: int) -> Any:
    class Fake:
        """As much of a lane as a window asks for."""

        model = SimpleNamespace(declaration=SimpleNamespace(run_threads=threads))
        group_rows = rows

    return Fake()


class Queue:
    """A model's: it has room for so many groups at a time, and remembers the most that it has had."""

    def __init__(self, room: int) -> None:
        self.most = self.held = self.answered = 0
        self._room = room
        self.may_run = asyncio.Semaphore(0)

    async def ask(self) -> None:
        if self.held == self._room:
            raise Overloaded("too much", "waiting", 0.1)
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            await self.may_run.acquire()
        finally:
            self.held -= 1
        self.answered += 1


def test_however_many_streams_there_are_a_single_request_finds_room() -> None:
    async def scenario() -> None:
        queue, window = Queue(5), Windows().of(lane_of(2, 32))

        async def stream() -> None:
            async with window.place(NEVER):
                await patiently(queue.ask, NEVER)

        streams = [asyncio.create_task(stream()) for _ in range(50)]
        for _ in range(50):
            await turns(20)
            single = asyncio.create_task(queue.ask())
            await turns(20)
            assert not single.done()
            single.cancel()
            queue.may_run.release()
        await asyncio.gather(*streams)
        assert (queue.most, queue.answered) == (5, 50)

    play(scenario())


def test_streams_have_their_places_in_turn() -> None:
    async def scenario() -> None:
        window, order = Window(1, 32), list[int]()

        async def stream(number: int) -> None:
            for _ in range(2):
                async with window.place(NEVER):
                    order.append(number)
                    await asyncio.sleep(0)

        await asyncio.gather(*(stream(number) for number in range(3)))
        assert order == [0, 1, 2, 0, 1, 2]

    play(scenario())


def test_a_place_is_waited_for_until_the_deadline() -> None:
    async def scenario() -> None:
        window = Window(1, 32)
        deadline = Deadline.after(0.001, asyncio.get_running_loop().time())
        async with window.place(NEVER):
            with pytest.raises(DeadlineExceeded, match="queue"):
                async with window.place(deadline):
                    pass
        async with window.place(NEVER):  # whoever gave up holds none
            pass

    play(scenario())


def test_a_model_has_one_window_for_as_long_as_it_is_served() -> None:
    windows, lane = Windows(), lane_of(1, 32)
    assert windows.of(lane) is windows.of(lane)
    assert windows.of(lane) is not windows.of(lane_of(1, 32))


def test_a_portion_is_small_where_its_results_are_large() -> None:
    window = Window(2, 32)
    rows = []
    for size in (0, 4, 1 << 20, 4 << 20, 100 << 20, 4):
        window.note(2, 2 * size)
        rows.append(window.rows)
    window.note(0, 9)
    assert rows == [32, 32, 8, 2, 1, 32]
    assert window.rows == 32


def test_the_first_portion_is_one_row_as_nobody_knows_how_large_its_result_is() -> None:
    window = Window(2, 32)
    window.note(0, 0)
    assert window.rows == 1
