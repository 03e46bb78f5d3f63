"""A long body becomes tensors: in a thread, and the longest one after the other."""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from service.caller import Caller, ClientLeft
from service.deadline import Deadline
from service.errors import RequestTooLarge
from service.knobs import Limits
from service.protocol import v2
from service.scheduling.admission import Hold
from service.tensors import Signature, weight

Decode = Callable[[bytes, int | None, Signature, Limits], v2.InferRequest]

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


class Reader:
    """Of long bodies. `most` is how many bytes the tensors of one request may take."""

    def __init__(self, limits: Limits, most: int, decode: Decode = v2.decode) -> None:
        self._limits = limits
        self._most = most
        self._decode = decode
        self._alone = asyncio.Lock()

    async def read(
        self,
        content: bytes,
        json_length: int | None,
        signature: Signature,
        hold: Hold,
        deadline: Deadline,
        caller: Caller,
    ) -> v2.InferRequest:
        """As `v2.decode`, for a long body; `hold` then has what is left of it in memory.

        Raises RequestTooLarge, Overloaded, DeadlineExceeded and ClientLeft besides.
        """
        if len(content) <= _TOGETHER:
            asked, size = await asyncio.to_thread(self._weighed, content, json_length, signature)
        else:
            async with self._alone:
                if caller.has_left:
                    raise ClientLeft("body")
                deadline.check("decode")
                asked, size = await asyncio.to_thread(self._weighed, content, json_length, signature)
        hold.resize(size)
        return asked

    def _weighed(self, content: bytes, json_length: int | None, signature: Signature) -> tuple[v2.InferRequest, int]:
        """The request, and the bytes that it keeps in memory. Raises RequestTooLarge."""
        asked = self._decode(content, json_length, signature, self._limits)
        # Binary tensors lie in the body, and so keep the JSON before them too.
        size = (json_length or 0) + sum(map(weight, asked.inputs.values()))
        if size > self._most:
            raise RequestTooLarge(
                f"the inputs take {size} bytes, and {self._most} are the most that is held; send fewer rows at a time"
            )
        return asked, size
