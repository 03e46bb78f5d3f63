"""A body under its limit: in pieces, compressed, of a wrong form, never finished."""

import asyncio
import gzip
import zlib

import pytest
from starlette.requests import Request

from service.caller import ClientLeft
from service.errors import CallerError, MalformedRequest, Overloaded, RequestTooLarge, UnsupportedMedia
from service.scheduling.admission import Budget
from service.web.body import json_length, read
from service.web.records import record_of
from tests.unit.web.asgi import raw_headers, request

LIMIT = 10
GZIP = gzip.compress(b"0123456789", mtime=0)
DEFLATE = zlib.compress(b"0123456789")
MEMBER = gzip.compress(b"", mtime=0)
TOO_LARGE = "the body is larger than 10 bytes, the most that is read; send fewer rows at a time"


def receive(asked: Request, limit: int) -> bytes:
    return asyncio.run(read(dict(asked.scope["headers"]), asked.receive, record_of(asked.scope), limit))


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([b"0123456789"], {}),
        ([b"0123456789"], {"content_length": "10"}),
        ([b"0123456789"], {"content_length": "ten"}),
        ([b"0123456789"], {"content_length": ""}),
        ([b"01234", b"", b"56789"], {}),
        ([b"0123456789", b""], {}),
        ([b"0123456789"], {"content_type": "Application/JSON; charset=utf-8"}),
        ([b"0123456789"], {"content_type": "application/octet-stream"}),
        ([b"0123456789"], {"content_type": "application/x-www-form-urlencoded"}),
        ([b"0123456789"], {"content_encoding": "identity, ,"}),
    ],
)
def test_a_body_of_just_the_limit_is_read(pieces: list[bytes], headers: dict[str, str]) -> None:
    asked = request(*pieces, **headers)
    assert receive(asked, LIMIT) == b"0123456789"
    assert record_of(asked.scope).bytes_in == 10


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", GZIP),
        ("x-gzip", GZIP),
        ("gzip", b"".join(gzip.compress(part, mtime=0) for part in (b"01234", b"", b"56789"))),
        ("Deflate", DEFLATE),
        ("gzip, deflate", zlib.compress(GZIP)),
        ("deflate, gzip", gzip.compress(DEFLATE)),
    ],
)
def test_a_compressed_body_is_read(coding: str, body: bytes) -> None:
    asked = request(body, content_encoding=coding)
    assert receive(asked, 100) == b"0123456789"
    assert record_of(asked.scope).bytes_in == len(body)


LONG = b"x" * 101


@pytest.mark.parametrize(
    ("pieces", "headers", "error"),
    [
        ([b"x" * 11], {}, RequestTooLarge(TOO_LARGE)),
        ([b"x" * 6, b"x" * 5, b"never read"], {}, RequestTooLarge(TOO_LARGE)),
        ([], {"content_length": "11"}, RequestTooLarge(TOO_LARGE)),
        ([], {"content_length": "9" * 5000}, RequestTooLarge(TOO_LARGE)),
        (
            [],
            {"content_type": "text/plain; charset=utf-8"},
            UnsupportedMedia(
                "Content-Type: expected application/json or application/octet-stream, got 'text/plain'", None
            ),
        ),
        (
            [],
            {"content_encoding": "gzip, br"},
            UnsupportedMedia("Content-Encoding: expected gzip or deflate, got 'br'", "gzip, deflate"),
        ),
        (
            [],
            {"content_encoding": "gzip, gzip, deflate"},
            UnsupportedMedia("Content-Encoding: expected at most two codings, got 3", "gzip, deflate"),
        ),
    ],
)
def test_what_is_too_large_or_of_another_form_is_refused(
    pieces: list[bytes], headers: dict[str, str], error: CallerError
) -> None:
    with pytest.raises(type(error)) as caught:
        receive(request(*pieces, **headers), LIMIT)
    assert (str(caught.value), vars(caught.value)) == (str(error), vars(error))


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        ("gzip", b"0123456789", MalformedRequest("Content-Encoding: the body is not valid gzip")),
        ("deflate", b"0123456789", MalformedRequest("Content-Encoding: the body is not valid deflate")),
        ("gzip", DEFLATE, MalformedRequest("Content-Encoding: the body is not valid gzip")),
        ("gzip", GZIP[:-1], MalformedRequest("Content-Encoding: the gzip body ends too early")),
        ("deflate", DEFLATE[:-1], MalformedRequest("Content-Encoding: the deflate body ends too early")),
        ("deflate", b"", MalformedRequest("Content-Encoding: the deflate body ends too early")),
        ("gzip", GZIP[:-5] + b"\0" + GZIP[-4:], MalformedRequest("Content-Encoding: the body is not valid gzip")),
        ("gzip", GZIP + b"more", MalformedRequest("Content-Encoding: the body is not valid gzip")),
        (
            "deflate",
            DEFLATE + b"more",
            MalformedRequest("Content-Encoding: the body is not valid deflate"),
        ),
        ("gzip", gzip.compress(LONG), RequestTooLarge(TOO_LARGE.replace("10", "100"))),
        ("deflate", zlib.compress(LONG), RequestTooLarge(TOO_LARGE.replace("10", "100"))),
        (
            "gzip",
            gzip.compress(LONG[:60]) + gzip.compress(LONG[:41]),
            RequestTooLarge(TOO_LARGE.replace("10", "100")),
        ),
    ],
)
def test_what_cannot_be_decompressed_within_the_limit_is_refused(coding: str, body: bytes, error: CallerError) -> None:
    with pytest.raises(type(error)) as caught:
        receive(request(body, content_encoding=coding), 100)
    assert str(caught.value) == str(error)


def test_a_body_of_many_gzip_members_is_read() -> None:
    assert receive(request(MEMBER * 4096, content_encoding="gzip"), len(MEMBER) * 4096) == b""


def test_members_without_end_are_not_opened_one_after_the_other() -> None:
    """Each costs more than its bytes: 8 MB of empty ones took a hundred times as long as 8 MB of numbers."""
    with pytest.raises(MalformedRequest, match=r"^Content-Encoding: the body is not valid gzip$"):
        receive(request(MEMBER * 4097, content_encoding="gzip"), len(MEMBER) * 4097)


@pytest.mark.parametrize("padding", [b"", b"\0" * 3, b"\0" * 200_000])
def test_zeros_behind_a_gzip_body_are_passed_over(padding: bytes) -> None:
    body = gzip.compress(b"read") + padding
    assert receive(request(body, content_encoding="gzip"), len(body)) == b"read"


def test_a_member_that_follows_zeros_is_refused() -> None:
    with pytest.raises(MalformedRequest, match=r"^Content-Encoding: the body is not valid gzip$"):
        receive(request(MEMBER + b"\0" + MEMBER, content_encoding="gzip"), 100)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"content_type": "a" * 60_000}, "got '" + "a" * 96 + "..."),
        ({"content_encoding": "a" * 60_000}, "got '" + "a" * 96 + "..."),
        ({"content_encoding": "identity," * 6_000}, "got '" + "identity," * 10 + "identi..."),
    ],
)
def test_a_long_header_is_not_repeated(headers: dict[str, str], error: str) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        receive(request(b"", **headers), LIMIT)
    assert str(caught.value).endswith(error)


@pytest.mark.parametrize("before", [[], [b"half"]])
def test_a_client_that_leaves_ends_the_reading(before: list[bytes]) -> None:
    with pytest.raises(ClientLeft):
        receive(request(*before, None), LIMIT)


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, None),
        ({"inference_header_content_length": "0"}, 0),
        ({"inference_header_content_length": "0123"}, 123),
        ({"inference_header_content_length": "9" * 18}, 10**18 - 1),
    ],
)
def test_the_length_of_the_json_is_a_number(headers: dict[str, str], length: int | None) -> None:
    assert json_length(raw_headers(**headers)) == length


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1e3", "ten", "9" * 19, " ", "\xb2"])
def test_another_length_is_refused(text: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        json_length(raw_headers(inference_header_content_length=text))
    assert str(caught.value) == (f"Inference-Header-Content-Length: expected a number of bytes from 0 up, got {text!r}")


@pytest.mark.parametrize("headers", [{"content_length": "6"}, {}])
def test_a_body_for_which_there_is_no_room_is_refused(headers: dict[str, str]) -> None:
    """Before it is read, where it was announced."""
    budget = Budget(10)
    with budget.hold() as other, budget.hold() as hold:
        other.resize(5)
        asked = request(*([] if headers else [b"012", b"345", b"never read"]), **headers)
        with pytest.raises(Overloaded) as caught:
            asyncio.run(read(raw_headers(**headers), asked.receive, record_of(asked.scope), LIMIT, hold))
        assert caught.value.reason == "bytes"
        assert hold.size == (0 if headers else 3)
    assert budget.held == 0


def test_a_bomb_gets_no_further_than_there_is_room() -> None:
    """The room is that of all bodies together: many bombs may come at once."""
    budget = Budget(3 << 20)
    bomb = gzip.compress(bytes(1 << 30 >> 4))
    with budget.hold() as hold:
        asked = request(bomb, content_encoding="gzip")
        with pytest.raises(Overloaded) as caught:
            asyncio.run(
                read(raw_headers(content_encoding="gzip"), asked.receive, record_of(asked.scope), 1 << 30, hold)
            )
        assert caught.value.reason == "bytes"
        assert hold.size <= 3 << 20
    assert budget.held == 0


def test_a_long_body_is_put_together_of_its_pieces() -> None:
    body = bytes(range(256)) * 10_000
    for coding, compressed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body, 0))):
        assert receive(request(compressed, content_encoding=coding), len(body) * 2) == body


def test_of_a_compressed_body_only_what_came_out_is_held() -> None:
    budget = Budget(100)
    with budget.hold() as hold:
        asked = request(GZIP, content_encoding="gzip")
        asyncio.run(read(raw_headers(content_encoding="gzip"), asked.receive, record_of(asked.scope), 100, hold))
        assert (budget.held, hold.size) == (10, 10)
    assert budget.held == 0
