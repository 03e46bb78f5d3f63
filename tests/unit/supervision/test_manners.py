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
        made.connection.data_received(REQUEST[20:])
        await turns()
        assert made.transport.written == ANSWER

    asyncio.run(run())


def test_nothing_happens_to_a_connection_that_is_to_be_read_later() -> None:
    """Looks, goodbyes, the end of the service, the client's own end: all may come before its turn."""

    async def run() -> None:
        for before in (b"", REQUEST):
            made = door()
            made.connection.receive(before)
            await turns()
            made.connection.data_received(REQUEST)
            assert made.connection.idle_since is None
            made.connection.look(100.0)
            made.connection.say_goodbye()
            made.connection.answer_last()
            await turns()
            assert made.transport.written.endswith(ANSWER)
            assert (made.transport.has_eof, made.transport.is_closed) == (False, False)
        made = door()
        made.connection.data_received(REQUEST)
        made.connection.eof_received()

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
