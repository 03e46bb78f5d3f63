"""Which coding an answer gets, and that it can be read again."""

import gzip
import zlib

import pytest

from service.web.coding import choose, compress


@pytest.mark.parametrize(
    ("accept", "short", "long"),
    [
        (None, None, None),
        (b"", None, None),
        (b"gzip", "gzip", "gzip"),
        (b"deflate", "deflate", "deflate"),
        (b" GZip ", "gzip", "gzip"),
        (b"gzip;q=0.5", "gzip", "gzip"),
        (b"gzip, deflate", None, "gzip"),
        (b"deflate, gzip", None, "gzip"),
        (b"deflate, br", None, "deflate"),
        (b"br, zstd", None, None),
        (b"identity", None, None),
        (b"*", None, None),
        (b"\xff", None, None),
        (b"gzip," * 204 + b"gzip", None, "gzip"),
        (b"gzip," * 205, None, None),
        (b"gzip;q=0", None, None),
        (b"gzip; q=0.000", None, None),
        (b"gzip;q=0., deflate", "deflate", "deflate"),
        (b"gzip;q=0.01, br", None, "gzip"),
        (b"deflate, identity;q=0", "deflate", "deflate"),
    ],
)
def test_who_names_one_coding_gets_it_and_who_lists_gets_one_for_a_long_answer(
    accept: bytes | None, short: str | None, long: str | None
) -> None:
    assert (choose(accept, 99, least=100), choose(accept, 100, least=100)) == (short, long)


@pytest.mark.parametrize(("coding", "decompress"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
@pytest.mark.parametrize("body", [b"", b"a", b"abc" * 1000])
def test_a_compressed_answer_can_be_read(coding: str, decompress: type, body: bytes) -> None:
    assert decompress(compress(coding, body)) == body


def test_the_same_answer_has_the_same_bytes() -> None:
    assert compress("gzip", b"abc") == gzip.compress(b"abc", 1, mtime=0)
