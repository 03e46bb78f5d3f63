"""Faults that were found while these modules were tested: each test fails until its fault is gone."""

import asyncio
import errno
from typing import Any

import pytest

from service.tensors import Datatype
from tests.unit.engine.test_padding import of_one, refusal
from tests.unit.supervision.test_accept import ALWAYS, House, broken
from tests.unit.supervision.test_connection import ANSWER, OFFERS, REQUEST, Line, offering

# What running a model shows.


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_number_cannot_pad_integers(value: str) -> None:
    """TOML knows both words; the check stumbles over them instead of naming them."""
    signature, rule = of_one(Datatype.INT64, float(value))
    assert refusal(signature, sequence=rule) == (
        f"padding.sequence in model.toml: {value} is no value of input 'x', INT64[-1,-1]"
    )


# Connections.


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


# Accepting.


def test_a_client_that_has_given_up_does_not_end_the_backlog() -> None:
    """Those who wait behind it would be reset when the listener is closed."""

    async def scenario() -> None:
        with broken(ConnectionAbortedError(errno.ECONNABORTED, "aborted")) as listener:
            house = House(listener, ALWAYS)
            names = house.knock(2)
            house.acceptor.take_backlog()
            house.acceptor.close()
            await house.acceptor.wait_closed()
            assert house.connections.qsize() == 2
            assert await house.taken(2) == names
            house.close()

    asyncio.run(scenario())
