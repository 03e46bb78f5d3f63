"""The framing of streams: lines of JSON, in and out (NDJSON), and server-sent events.

Sources: github.com/ndjson/ndjson-spec; the HTML standard, "Server-sent events". JSON is written without line breaks, so
a document is a line, and the data of an event.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson

from service.errors import OnnicornError, RequestTooLarge
from service.quoting import shorten

_BLANK: Final = b" \t\r"
_BLANKS: Final = re.compile(rb"[ \t\r\n]*\n")
EVENT_END: Final = b"\n\n"
# As much of a sentence as an answer repeats, and it may be repeated a million times.
_LONGEST: Final = 4000


class Line(NamedTuple):
    """`number` counts all lines from 1, blank ones too; `text` is None for one that is longer than is read."""

    number: int
    text: bytes | None


class Lines:
    """Cuts what comes, in whatever pieces, into lines. Blank lines are passed over, and the last needs no end.

    Of a line longer than `most` bytes nothing is kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.begun = 1  # the number of the line that is being read
        self._text = bytearray()  # of it
        self._is_too_long = False
        self._passed = 0  # bytes of blank lines since the last other one

    @property
    def held(self) -> int:
        """Bytes of the line that is being read."""
        return len(self._text)

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that this completes. Raises RequestTooLarge, where there are blank ones and nothing else."""
        start = self._behind_blanks(piece, 0)
        while (end := piece.find(b"\n", start)) >= 0:
            self._add(piece[start:end])
            yield from self.end()
            start = self._behind_blanks(piece, end + 1)
        self._add(piece[start:])

    def end(self) -> Iterator[Line]:
        """The line that is being read, if there is anything in it, is complete."""
        text, self._text = bytes(self._text), bytearray()
        is_too_long, self._is_too_long = self._is_too_long, False
        self.begun += 1
        if line := self._line(text, is_too_long):
            yield line

    def _behind_blanks(self, piece: bytes, start: int) -> int:
        """Where the blank lines end that begin there: a small body can become millions, so they cost next to nothing.

        Many in a row count as one line, which may be too long.
        """
        if self._text or self._is_too_long or not (blanks := _BLANKS.match(piece, start)):
            return start
        self._passed += blanks.end() - start
        if self._passed > self.most:
            raise RequestTooLarge(f"more than {self.most} bytes of blank lines follow each other")
        self.begun += piece.count(b"\n", start, blanks.end())
        return blanks.end()

    def _line(self, text: bytes, is_too_long: bool) -> Line | None:
        """The one before the one that has begun; None where it is blank."""
        if is_too_long:
            return Line(self.begun - 1, None)
        text = text.strip(_BLANK)
        if not text:
            return None
        self._passed = 0
        return Line(self.begun - 1, text)

    def _add(self, text: bytes) -> None:
        if self._is_too_long:
            return
        self._text += text
        if len(self._text) > self.most:
            self._text = bytearray()
            self._is_too_long = True

    def too_long(self) -> RequestTooLarge:
        """What is said of such a line."""
        return RequestTooLarge(f"the line is longer than {self.most} bytes, the most that is read of one")


def line_problem(error: OnnicornError, number: int) -> bytes:
    """What stands in place of the answer to a line; or, as the last line, from which one on nothing was run."""
    return orjson.dumps({"error": _sentence(error), "code": error.code, "line": number}) + b"\n"


def event_head(identity: int) -> bytes:
    """What makes an event of a document of JSON, with EVENT_END behind that: which may be large, and is not copied.

    A client that has to come back says the identity of the last that it got.
    """
    return b"id: %d\ndata: " % identity


def event_problem(error: OnnicornError, request_id: str) -> bytes:
    """The last event, of the type `error`, where there are no more to come that should have come."""
    document = {"error": _sentence(error), "code": error.code, "request_id": request_id}
    return b"event: error\ndata: " + orjson.dumps(document) + EVENT_END


def _sentence(error: OnnicornError) -> str:
    return shorten(str(error), _LONGEST)
