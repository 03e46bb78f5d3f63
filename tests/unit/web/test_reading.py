"""Where a body is read, one or several at a time, and what it keeps in memory."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from service.caller import NOBODY, Caller, ClientLeft
from service.deadline import NEVER, Deadline
from service.errors import DeadlineExceeded, MalformedRequest, Overloaded, RequestTooLarge
from service.knobs import Limits
from service.protocol import v2
from service.scheduling.admission import Budget
from service.tensors import Datatype, Signature, TensorSpec
from service.web.reading import Reader, is_long

SHORT, LONG, LONGER, LONGEST = 64 << 10, (64 << 10) + 1, 4 << 20, (4 << 20) + 1
ASKED = v2.InferRequest({})

Decode = Callable[[], v2.InferRequest]


def model() -> Signature:
    return Signature((TensorSpec("x", Datatype.FP32, None),), ())


class Gated:
    """Reads nothing before it may, and remembers where and how many at a time."""

    def __init__(self, is_open: bool = True) -> None:
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.threads: list[bool] = []
        self.at_once = self.most_at_once = 0
        if is_open:
            self.gate.set()

    def __call__(self) -> v2.InferRequest:
        self.threads.append(threading.current_thread() is not threading.main_thread())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.release()
        self.gate.wait()
        self.at_once -= 1
        return ASKED


async def read(
    decode: Decode, size: int, deadline: Deadline = NEVER, caller: Caller = NOBODY, reader: Reader | None = None
) -> v2.InferRequest:
    reader = reader or Reader(1 << 30)
    return await reader.read(decode, size, 0, Budget(1 << 30).hold(), deadline, caller)


@pytest.mark.parametrize(
    ("head", "size", "json_length", "long"),
    [
        (b"", SHORT, None, False),
        (b"", LONG, None, True),
        (b"", LONG, SHORT, False),
        (b"", LONG, LONG, True),
        (b"", LONGER, 100, False),
        (b"", LONGEST, 100, True),
        (b'"BYTES"', SHORT, 100, False),
        (b'"BYTES"', LONG, 100, True),
        (b'"\\u0042YTES"', LONG, 100, True),
        (b'"BYTES"', LONG, 5, False),
        (b'"BYTES"', LONG, 0, False),
    ],
)
def test_what_takes_long_is_known(head: bytes, size: int, json_length: int | None, long: bool) -> None:
    """Long JSON, strings one by one, or much that may have to be copied."""
    assert is_long(head.ljust(size), json_length) is long


def test_a_long_body_is_read_beside_the_event_loop() -> None:
    gated = Gated()
    assert asyncio.run(read(gated, LONG)) is ASKED
    assert gated.threads == [True]


@pytest.mark.parametrize(("size", "at_once"), [(LONGER, 2), (LONGEST, 1)])
def test_the_longest_are_read_one_after_the_other(size: int, at_once: int) -> None:
    gated = Gated(is_open=False)
    reader = Reader(1 << 30)

    async def both() -> None:
        reading = [asyncio.ensure_future(read(gated, size, reader=reader)) for _ in range(2)]
        for _ in range(at_once):
            await asyncio.to_thread(gated.began.acquire)
        gated.gate.set()
        assert await asyncio.gather(*reading) == [ASKED] * 2

    asyncio.run(both())
    assert (gated.most_at_once, len(gated.threads)) == (at_once, 2)


def test_whoever_is_too_late_or_has_left_when_the_turn_comes_is_not_read() -> None:
    gated = Gated(is_open=False)
    reader, caller = Reader(1 << 30), Caller()

    async def three() -> Any:
        first = asyncio.ensure_future(read(gated, LONGEST, reader=reader))
        await asyncio.to_thread(gated.began.acquire)
        late = asyncio.ensure_future(read(gated, LONGEST, Deadline(0.0, 1.0), reader=reader))
        gone = asyncio.ensure_future(read(gated, LONGEST, caller=caller, reader=reader))
        await asyncio.sleep(0)
        caller.leave()
        gated.gate.set()
        return await asyncio.gather(first, late, gone, return_exceptions=True)

    first, late, gone = asyncio.run(three())
    assert (first, type(late), type(gone)) == (ASKED, DeadlineExceeded, ClientLeft)
    assert len(gated.threads) == 1


FP64 = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[50000],"data":[%s1]}]}' % (b"1," * 49_999)
BYTES = b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[30000],"data":[%s"a"]}]}' % (b'"a",' * 29_999)
HEAD = b'{"inputs":[{"name":"x","datatype":"UINT8","shape":[5000000],"parameters":{"binary_data_size":5000000}}]}'


@pytest.mark.parametrize(
    ("content", "json_length", "size"),
    [
        (FP64, None, 400_000),
        (BYTES, None, 30_000 * 65),
        (HEAD + bytes(5_000_000), len(HEAD), len(HEAD) + 5_000_000),
    ],
    ids=["numbers", "strings", "binary"],
)
def test_the_budget_has_what_is_left_of_a_long_body(content: bytes, json_length: int | None, size: int) -> None:
    """Tensors of JSON lie beside the text, which goes; binary ones lie in the body."""

    def held(budget: Budget, most: int = 1 << 30) -> int:
        with budget.hold() as hold:
            hold.resize(len(content))
            decode = partial(v2.decode, content, json_length, model(), Limits())
            read = Reader(most).read(decode, len(content), json_length or 0, hold, NEVER, NOBODY)
            assert asyncio.run(read).inputs["x"].size
            return budget.held

    assert held(Budget(5_100_000)) == size
    with pytest.raises(RequestTooLarge) as caught:
        held(Budget(1 << 30), most=size - 1)
    assert str(caught.value).startswith(f"the inputs take {size} bytes, and {size - 1} are the most")
    if size > len(content):
        with pytest.raises(Overloaded):
            held(Budget(size - 1))


def test_a_refusal_in_a_thread_is_a_refusal() -> None:
    with pytest.raises(MalformedRequest):
        asyncio.run(read(partial(v2.decode, bytes(LONG), None, model(), Limits()), LONG))
