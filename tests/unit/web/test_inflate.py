"""A compressed body that is read while it comes: whatever its pieces, it is the same, or it is wrong."""

import gzip
import random
import zlib
from collections.abc import Callable

import pytest

from service.errors import MalformedRequest
from service.web.inflate import Inflater

NOISE = random.Random(7).randbytes(150_000)
BODIES = {"short": b"hello", "nothing": b"", "dense": NOISE, "a thousand times as much": b"\0" * 3_000_000}
CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def inflated(coding: str, body: bytes, size: int) -> bytes:
    inflater = Inflater(coding)
    pieces = [piece for start in range(0, len(body), size) for piece in inflater.feed(body[start : start + size])]
    inflater.end()
    assert max(map(len, pieces), default=0) <= 64 << 10
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("coding", CODINGS)
def test_what_was_compressed_comes_back_in_pieces_of_any_size(coding: str, body: bytes, size: int) -> None:
    assert inflated(coding, CODINGS[coding](body), size) == body


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("behind", [b"", b"\0", b"\0" * 2000])
def test_gzip_may_have_several_members_and_zeros_behind_the_last(size: int, behind: bytes) -> None:
    body = b"".join(gzip.compress(part) for part in (b"one", b"", b"two", b"x" * 10_000)) + behind
    assert inflated("gzip", body, size) == b"onetwo" + b"x" * 10_000


def test_what_becomes_nothing_still_makes_steps() -> None:
    body = gzip.compress(b"") * 2000
    pieces = list(Inflater("gzip").feed(body))
    assert set(pieces) == {b""}
    assert len(pieces) >= len(body) // 4096


def test_what_can_be_read_is_given_before_all_has_come() -> None:
    stream = zlib.compressobj(1, zlib.DEFLATED, 31)
    inflater = Inflater("gzip")
    for line in (b"one\n", b"two\n"):
        assert b"".join(inflater.feed(stream.compress(line) + stream.flush(zlib.Z_SYNC_FLUSH))) == line


@pytest.mark.parametrize("cut", [0, 1, 12, -1])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_that_ends_too_early_is_refused_at_its_end(coding: str, cut: int) -> None:
    with pytest.raises(MalformedRequest, match=rf"^Content-Encoding: the {coding} body ends too early$"):
        inflated(coding, CODINGS[coding](b"hello" * 10)[:cut], 3)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"plain"),
        ("gzip", gzip.compress(b"one") + b"more"),
        ("gzip", zlib.compress(b"one")),
        ("deflate", gzip.compress(b"one")),
        ("deflate", zlib.compress(b"one") + b"more"),
        ("deflate", zlib.compress(b"one") + b"\0"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_no_such_body_is_refused(coding: str, body: bytes, size: int) -> None:
    with pytest.raises(MalformedRequest, match=rf"^Content-Encoding: the body is not valid {coding}$"):
        inflated(coding, body, size)
