"""What is left of a connection when an offer of another protocol was declined: HTTP/1.1, as if nothing had been."""

from typing import Any, Final, Protocol

import httptools

# What says how long a body is.
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class Hearer(Protocol):
    """What a parser tells what it finds."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class _Behind:
    """Hears the next parser, and passes on what comes behind the head that is known already."""

    def __init__(self, hearer: Hearer) -> None:
        self._hearer = hearer
        self._is_behind = False
        self.on_body = hearer.on_body
        self.on_message_complete = hearer.on_message_complete

    def on_message_begin(self) -> None:
        if self._is_behind:
            self._hearer.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_behind:
            self._hearer.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_behind:
            self._hearer.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_behind:
            self._hearer.on_headers_complete()
        self._is_behind = True


def parser_behind(hearer: Hearer, cycle: Any) -> httptools.HttpRequestParser:
    """One that reads the body of the request, `cycle`, if it has one, and what follows it.

    The parser that has seen the offer takes what follows the head for the other protocol, and the request for one
    without a body. This one, told how long the body is, takes over where the other left off.
    """
    framing = [header for header in cycle.scope["headers"] if header[0] in _FRAMING]
    if not framing:
        return httptools.HttpRequestParser(hearer)
    # The request has not been looked at yet: its task starts in the next turn of the loop.
    cycle.more_body = True
    cycle.message_event.clear()
    parser = httptools.HttpRequestParser(_Behind(hearer))
    head = b"".join(b"%s: %s\r\n" % header for header in framing)
    parser.feed_data(b"POST / HTTP/1.1\r\n" + head + b"\r\n")
    return parser
