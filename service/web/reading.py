"""A long body is read: in a thread, and the longest one after the other."""

import asyncio
import re
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from service.caller import Caller, ClientLeft
from service.deadline import Deadline
from service.errors import RequestTooLarge
from service.scheduling.admission import Hold

# Reading more JSON, or strings, than this in a thread costs no throughput, and nobody else waits for it: with bodies of
# 1.5 MB the loop was held for 5 ms at the median (7 at the 99th percentile), with a thread for 0 (2).
_ON_LOOP: Final = 64 << 10
# Where binary strings are announced; an escape may hide the word.
_STRINGS: Final = re.compile(rb"BYTES|\\u")
# Of other binary tensors nothing is looked at, but they may have to be copied to an address that suits them.
_VIEWED_ON_LOOP: Final = 4 << 20
# To read such JSON takes several times its size for a moment.
_TOGETHER: Final = 4 << 20


def is_long(content: bytes, json_length: int | None) -> bool:
    """Would to read it hold the event loop for long?"""
    if (len(content) if json_length is None else json_length) > _ON_LOOP:
        return True
    if len(content) <= _ON_LOOP:
        return False
    return len(content) > _VIEWED_ON_LOOP or _STRINGS.search(content, 0, json_length or 0) is not None


class Asked(Protocol):
    """What a body asks for; `weight` is how many bytes of memory that takes, once the body is gone."""

    @property
    def weight(self) -> int: ...


Read = TypeVar("Read", bound=Asked)


class Reader:
    """Of long bodies. `most` is how many bytes the inputs of one request may take."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._alone = asyncio.Lock()

    async def read(
        self,
        decode: Callable[[], Read],
        length: int,
        kept: int,
        hold: Hold,
        deadline: Deadline,
        caller: Caller,
    ) -> Read:
        """What `decode` makes of a body of so many bytes, of which it keeps some; `hold` then has what is in memory.

        Raises RequestTooLarge, Overloaded, DeadlineExceeded and ClientLeft besides.
        """
        if length <= _TOGETHER:
            asked, size = await asyncio.to_thread(self._weighed, decode, kept)
        else:
            async with self._alone:
                if caller.has_left:
                    raise ClientLeft("body")
                deadline.check("decode")
                asked, size = await asyncio.to_thread(self._weighed, decode, kept)
        hold.resize(size)
        return asked

    def _weighed(self, decode: Callable[[], Read], kept: int) -> tuple[Read, int]:
        """The request, and the bytes that it keeps in memory. Raises RequestTooLarge."""
        asked = decode()
        size = kept + asked.weight
        if size > self._most:
            raise RequestTooLarge(
                f"the inputs take {size} bytes, and {self._most} are the most that is held; send fewer rows at a time"
            )
        return asked, size
