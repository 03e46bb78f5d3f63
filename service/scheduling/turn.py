"""One turn of the event loop: it reads what has come, and then does what is to be done.

Where more than a thousand connections have something to say the loop reads on and on before it does anything, for
seconds if need be: libuv looks up to 48 times for more. Whoever reads must see to it that it comes to an end.
"""

import asyncio
from time import monotonic
from typing import Final

# How long, in seconds, a turn may read.
_LONG: Final = 0.01
# How often the clock is looked at.
_EACH: Final = 16


class Turn:
    """It begins when the clock is looked at for the first time, and ends when the loop comes to what is to be done."""

    __slots__ = ("_asked", "_began", "_is_long")

    def __init__(self) -> None:
        self._began: float | None = None
        self._asked = 0
        self._is_long = False

    def is_long(self) -> bool:
        """Has this one been reading for too long? Asked for each thing that is read."""
        self._asked += 1
        if self._asked == _EACH:
            self._asked = 0
            self._look()
        return self._is_long

    def _look(self) -> None:
        if self._began is None:
            self._began = monotonic()
            asyncio.get_running_loop().call_soon(self._end)
        else:
            self._is_long = monotonic() - self._began > _LONG

    def _end(self) -> None:
        self._began = None
        self._is_long = False
