"""What has come on a connection of requests that are not whole yet: how much of a head, how much around a body."""

from typing import Final

from service.knobs import Limits
from service.supervision import head
from service.supervision.patience import Pace

# How many bytes of chunk sizes, extensions and line ends may come with each byte of a body: chunks that are smaller
# cost more to read than they bring.
_AROUND: Final = 1


class Intake:
    """Of one connection. What is counted is what is unusual: a request that comes in one packet costs an addition."""

    __slots__ = ("_around", "_head_first", "_head_more", "_limits", "_pace", "_packet", "_received")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._received = self._packet = 0  # bytes, in all and in the packet that is being read
        self._head_first = self._head_more = 0  # of a head that comes in pieces: its first packet; those behind it
        self._around = 0
        self._pace: Pace | None = None

    def take(self, size: int) -> None:
        """A packet of so many bytes is about to be read."""
        self._packet = size
        self._received += size

    def check_head(self, target: bytes, headers: head.Headers) -> None:
        """It is whole. Raises UriTooLong, HeadersTooLarge."""
        head.check_parts(target, headers, self._limits)
        if self._head_first + self._head_more + self._packet > self._limits.header_bytes:
            head.check_bytes(head.size_of(target, headers), self._limits)
            self._head_first = self._head_more = 0

    def weigh_head(self, is_new: bool, target: bytes, headers: head.Headers) -> None:
        """It is not whole behind this packet. Raises UriTooLong, HeadersTooLarge.

        The parser keeps a header until it ends, and says nothing of it.
        """
        if is_new:
            self._head_first, self._head_more = self._packet, 0
        else:
            self._head_more += self._packet
        head.check_parts(target, headers, self._limits)
        head.check_bytes(self._head_more, self._limits)

    def begin_body(self) -> None:
        """More of it is to come than this packet had."""
        self._around = 0
        self._pace = Pace(self._received)

    def weigh_body(self, grown: int) -> None:
        """It has grown by so many bytes, and is not whole yet. Raises HeadersTooLarge."""
        self._around = max(0, self._around + self._packet - grown * (1 + _AROUND))
        head.check_around(self._around, self._limits)

    def is_body_fast(self, elapsed: float) -> bool:
        """Does the body that is not whole come as fast as it must, `elapsed` seconds after the last such question?"""
        return self._pace is None or self._pace.is_kept(self._received, elapsed, self._limits)
