"""The usual response in one piece: head and body in one write, so in one packet and one system call.

Uvicorn writes the head first, looks at each header twice, and writes the body behind it. What is unusual in any way (a
stream, HEAD, the last answer of a connection, a slow reader, a length that is wrong) still goes its way.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_UNUSUAL: Final = frozenset({b"connection", b"transfer-encoding"})


class Response:
    """What one request's cycle sends with. By ASGI nothing need be sent before the first event of the body."""

    __slots__ = ("_cycle", "_send", "_start")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send: Any = cycle.send
        self._start: Any = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and not self._cycle.response_started:
            self._start = message  # in place of an earlier one: an app that fails behind it gets Uvicorn's 500
            return
        start, self._start = self._start, None
        if start:
            if self._is_written_at_once(start, message):
                return
            await self._send(start)
        await self._send(message)

    def _is_written_at_once(self, start: Any, message: Any) -> bool:
        cycle = self._cycle
        if message.get("more_body") or not cycle.keep_alive or cycle.disconnected or cycle.flow.write_paused:
            return False
        body = message.get("body", b"")
        head = _head(cycle.default_headers, start)
        if head is None or cycle.scope["method"] == "HEAD" or b"\r\ncontent-length: %d\r\n" % len(body) not in head:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(head + body)
        cycle.message_event.set()
        cycle.on_response()
        return True


def _head(default: list[tuple[bytes, bytes]], start: Any) -> bytes | None:
    """None where a header says how the connection goes on, or is more than one line."""
    content = [STATUS_LINE[start["status"]]]
    headers = [*default, *start["headers"]]
    for name, value in headers:
        if name in _UNUSUAL:
            return None
        content += (name, b": ", value, b"\r\n")
    content.append(b"\r\n")
    head = b"".join(content)
    lines = len(headers) + 2
    return head if head.count(b"\n") == head.count(b"\r") == lines else None
