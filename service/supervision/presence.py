"""Whether a client that has closed its side still waits for its answer.

To TCP a client that only says that it will send no more and one that has left look the same, until something is sent to
them: who has left resets the connection then, and what is sent next fails. An interim answer may be sent at any time,
and clients pass over it (RFC 9110, 15.2). HTTP/1.0 has none: there a client is missed when its answer is sent.
"""

import asyncio
from typing import Any, Final

_INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def ask(transport: asyncio.Transport, cycle: Any) -> None:
    """Now and then; the answer is that the connection is lost."""
    if cycle and not cycle.response_started and cycle.scope["http_version"] == "1.1":
        transport.write(_INTERIM)
