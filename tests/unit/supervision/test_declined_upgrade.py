"""An offer of another protocol is declined however it is written and cut, and the request keeps its body."""

import asyncio

import pytest

from tests.unit.loop import until
from tests.unit.supervision.test_connection import ANSWER, GET, OFFERS, REQUEST, Line, offering


def cut(data: bytes, behind: bytes, by: int = 0) -> list[bytes]:
    at = data.index(behind) + by
    return [data[:at], data[at:]]


OFFER = offering(OFFERS[0])


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([OFFER.replace(b"Upgrade", b"UPGRADE")], id="in capitals"),
        pytest.param([OFFER.replace(b"\r\nUpgrade:", b"\r\nUpGrade:").replace(b": Upgrade,", b": upGrade,")], id="odd"),
        pytest.param(cut(OFFER, b"Upgrade: h2c"), id="at the start of a packet"),
        pytest.param(cut(OFFER, b"Upgrade: h2c", -1), id="behind half a line's end"),
        pytest.param(cut(OFFER, b"Upgrade: h2c", 3), id="in two packets"),
        pytest.param([REQUEST + OFFER], id="behind another request"),
    ],
)
def test_an_offer_is_declined_however_it_comes(parts: list[bytes]) -> None:
    async def scenario() -> None:
        line = Line()
        assert (await line.receive(*parts)).count(ANSWER) == len(line.seen)
        assert {body for _, body in line.seen} == {b"body"}
        line.lose()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 4\r\n\r\nbody", b"body"),
        (b"Content-Length: 0\r\n\r\n", b""),
        (b"\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", b"body"),
    ],
)
def test_after_an_offer_the_connection_goes_on_as_it_was(framing: bytes, body: bytes) -> None:
    async def scenario() -> None:
        line = Line()
        data = b"POST /here HTTP/1.1\r\nHost: here\r\n" + OFFERS[0] + framing
        byte_by_byte = [data[index : index + 1] for index in range(len(data))]
        assert await line.receive(data + REQUEST, *byte_by_byte, GET) == ANSWER * 4
        assert [body for _, body in line.seen] == [body, b"body", body, b""]
        line.lose()

    asyncio.run(scenario())


@pytest.mark.parametrize("framing", [b"Content-Length: x", b"Content-Length: 4\r\nTransfer-Encoding: chunked"])
def test_an_offer_in_bytes_that_are_no_http_gets_a_problem(framing: bytes) -> None:
    async def scenario() -> None:
        line = Line()
        data = b"POST /here HTTP/1.1\r\nHost: here\r\n" + OFFERS[0] + framing + b"\r\n\r\nbody"
        assert (await line.receive(data)).startswith(b"HTTP/1.1 400 ")
        assert line.transport.has_eof
        line.lose()

    asyncio.run(scenario())


def test_many_offers_in_one_packet_are_declined_one_after_another() -> None:
    async def scenario() -> None:
        line = Line()
        line.connection.data_received(b"GET / HTTP/1.1\r\nHost: here\r\n%s\r\n" % OFFERS[1] * 200)
        await until(lambda: line.connection.is_idle)
        assert line.transport.written == ANSWER * 200
        line.lose()

    asyncio.run(scenario())


def test_an_offer_with_a_body_in_a_coding_that_nobody_knows_gets_a_problem() -> None:
    """The parser does not look at it behind an offer."""

    async def scenario() -> None:
        line = Line()
        data = b"POST / HTTP/1.1\r\nHost: here\r\n%sTransfer-Encoding: new\r\n\r\nbody" % OFFERS[1]
        assert (await line.receive(data)).startswith(b"HTTP/1.1 400 ")
        assert line.transport.has_eof
        line.lose()

    asyncio.run(scenario())
