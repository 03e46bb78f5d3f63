"""What a client may still send behind its last answer: many read nothing before they have sent everything.

It is read and dropped, since closing a connection with something unread resets it, and the answer may be lost with it.
"""

from typing import Final

from service.supervision.crowd import Crowd

# How long, in seconds, it may go on, how long the client may be silent meanwhile, and how many bytes it may send.
_LINGER: Final = 30
_SILENCE: Final = 5
_MOST_BYTES: Final = 2 << 30


class Farewell:
    """Of one connection. `begin` when the answer has been sent; bytes count from the first that is dropped."""

    __slots__ = ("_bytes", "_crowd", "_heard", "_since")

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._since = self._heard = crowd.now
        self._bytes = 0

    def begin(self) -> None:
        self._since = self._heard = self._crowd.now

    def drop(self, size: int) -> bool:
        """False once it is too much."""
        self._heard = self._crowd.now
        self._bytes += size
        return self._bytes <= _MOST_BYTES

    @property
    def has_ended(self) -> bool:
        return self._crowd.has_lasted(self._since, _LINGER) or self._crowd.has_lasted(self._heard, _SILENCE)
