"""Request ids, and the W3C trace context that a request belongs to."""

import random
import re
import time
from dataclasses import dataclass
from typing import Final

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header-field-values; version ff and ids of zeros are invalid.
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace and our own span in it."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def parent(self) -> str:
        """The `traceparent` that names our span as the parent of whatever follows."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def request_id(given: str | None) -> str:
    """The caller's id where it is harmless in a log and in a header, else a new one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else uuid7()


def continue_trace(traceparent: str | None) -> Trace | None:
    """The caller's trace with a new span; None where there is no valid one."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    # Version 00 ends with the flags; later ones may go on.
    if match is None or (match[0].startswith("00") and match[3]):
        return None
    return Trace(match[1], f"{random.getrandbits(64) or 1:016x}", match[2])


def uuid7() -> str:
    """RFC 9562, 5.7: 48 bits of Unix milliseconds, then random bits. Sorts by time; unique, not secret."""
    value = (time.time_ns() // 1_000_000 << 80) | random.getrandbits(80)
    value = (value & ~(0xF000 << 64)) | 0x7000 << 64
    value = (value & ~(0xC000 << 48)) | 0x8000 << 48
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
