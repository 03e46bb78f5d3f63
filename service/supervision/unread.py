"""When what a connection reads has come.

A loop that is asked for more than it can do reads late. Then requests wait in the kernel for longer than anywhere else,
and whoever counts from the moment when they are read answers after their deadline without knowing it.
"""

import socket
import struct
from time import monotonic
from typing import Any, Final

# `tcpi_last_data_recv` in the kernel's `struct tcp_info` (linux/tcp.h): milliseconds since the last data came.
_LAST_DATA: Final = struct.Struct("=52xI")


class Heard:
    """Of one connection: when the last came of what it has to read."""

    __slots__ = ("_socket",)

    def __init__(self, connected: Any) -> None:
        """`connected` is the transport's socket, or None where there is none."""
        self._socket = connected

    def __call__(self) -> float:
        """The moment, on the monotonic clock, as exactly as the kernel tells (4 ms); now, where it does not.

        That costs 3 us, so it is only asked where it matters.
        """
        now = monotonic()
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
        except (AttributeError, OSError, ValueError):  # no socket; one that is no TCP; one that is closed
            return now
        return float(now - _LAST_DATA.unpack(info)[0] / 1000)
