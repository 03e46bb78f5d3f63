"""Answers, compressed for the clients that ask for it."""

import gzip
import re
import zlib
from typing import Final

# Tensors of floats hardly compress further at higher levels, and cost several times the CPU.
_LEVEL: Final = 1
# zlib's name for gzip's format.
_GZIP: Final = 31
# A list of more bytes is nobody's, and to read it would take as long as to answer.
_LONGEST: Final = 1024
_QUALITY_ZERO: Final = re.compile(r";\s*q=0(\.0*)?\s*$")


def choose(accept: bytes | None, size: int, least: int) -> str | None:
    """The coding for an answer of `size` bytes, None for none.

    A client that names one single coding asks for it (Triton's client does); most others list whatever they could
    read, and get a compressed answer only from `least` bytes on, where it is worth the CPU.
    """
    if not accept or len(accept) > _LONGEST:
        return None
    offered = [part.strip().lower() for part in accept.decode("latin-1").split(",")]
    codings = [part.partition(";")[0].strip() for part in offered if not _QUALITY_ZERO.search(part)]
    if len(codings) > 1 and size < least:
        return None
    if "gzip" in codings:
        return "gzip"
    return "deflate" if "deflate" in codings else None


def compress(coding: str, body: bytes) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0) if coding == "gzip" else zlib.compress(body, _LEVEL)


class Press:
    """An answer that is compressed while it comes about. What has been given can be read as soon as it is sent."""

    def __init__(self, coding: str) -> None:
        self._stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if coding == "gzip" else zlib.MAX_WBITS)

    def more(self, part: bytes) -> bytes:
        return self._stream.compress(part) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def last(self, part: bytes) -> bytes:
        return self._stream.compress(part) + self._stream.flush()
