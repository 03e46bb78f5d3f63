"""An offer of another protocol is declined however it is written and cut, and the request keeps its body."""

import asyncio
from typing import Any

import pytest

from tests.unit.supervision.test_connection import ANSWER, OFFERS, REQUEST, Line, offering


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


def test_an_offer_behind_a_request_that_was_answered_early_is_declined() -> None:
    """The server has answered before the body was there; the rest of it comes, and then the next request."""

    async def scenario() -> None:
        line = Line()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})

        line.connection.app, ours = app, line.connection.app
        assert (await line.receive(REQUEST[:-4])).startswith(b"HTTP/1.1 413 ")
        line.connection.app = ours
        await line.receive(b"body")
        assert await line.receive(OFFER) == ANSWER
        assert [body for _, body in line.seen] == [b"body"]
        line.lose()

    asyncio.run(scenario())
