"""A connection whose turn has lasted too long reads what has come once others have had theirs."""

import asyncio

from service.scheduling.turn import Turn
from tests.unit.loop import turns
from tests.unit.supervision.test_connection import ANSWER, REQUEST
from tests.unit.supervision.test_connection_gate import Closed, Door


class Long(Turn):
    def is_long(self) -> bool:
        return True


class Open(Closed):
    """Is pressed on, and yet lets everybody in."""

    def refuse(self, *asked: object) -> None:
        return None


def door() -> Door:
    gate = Open()
    gate.turn = Long()
    return Door(gate)


def test_what_comes_in_a_long_turn_is_read_in_the_next_one() -> None:
    async def run() -> None:
        made = door()
        made.connection.data_received(REQUEST)
        assert made.connection.flow.read_paused
        assert made.connection.cycle is None
        await turns()
        assert (made.connection.flow.read_paused, made.transport.written) == (False, ANSWER)

    asyncio.run(run())


def test_what_comes_behind_it_stays_behind_it() -> None:
    """Reading may go on for another reason, such as the end of an answer."""

    async def run() -> None:
        made = door()
        made.connection.data_received(REQUEST[:20])
        assert not made.connection.is_idle
        made.connection.data_received(REQUEST[20:])
        await turns()
        assert (made.transport.written, made.connection.is_idle) == (ANSWER, True)

    asyncio.run(run())


def test_who_has_left_meanwhile_is_not_read() -> None:
    async def run() -> None:
        made = door()
        made.connection.data_received(REQUEST)
        made.transport.close()
        made.connection.connection_lost(None)
        await turns()
        assert made.transport.written == b""

    asyncio.run(run())
