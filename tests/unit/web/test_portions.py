"""Lines as they are taken: as many as there are, and all that were read before whatever breaks the body off."""

import asyncio
import gzip
from typing import Any

import pytest
from starlette.types import Message

from service.caller import Caller, ClientLeft
from service.errors import Draining, MalformedRequest, OnnicornError, Overloaded, RequestTooLarge, UnsupportedMedia
from service.protocol.events import Line, Lines
from service.scheduling.admission import Budget
from service.telemetry.record import Record
from service.web.portions import TOGETHER, Portions, are_lines

MOST = 3


def taken(*pieces: bytes | OnnicornError | None, most: int = 1 << 20, room: int = 1 << 20, **headers: str) -> list[Any]:
    """Each portion as the texts of its lines, and at last None or what was raised."""
    budget = Budget(room)
    messages = list(pieces)

    async def receive() -> Message:
        piece = messages.pop(0)
        if isinstance(piece, OnnicornError):
            raise piece
        return {"type": "http.disconnect"} if piece is None else body(piece, more=bool(messages))

    async def scenario() -> list[Any]:
        given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        with budget.hold() as hold:
            portions = Portions(receive, given, Record("7", None, "POST"), Lines(most), lambda: MOST, hold, Caller())
            found: list[Any] = []
            while not found or found[-1] is not None:
                try:
                    portion = await portions.take()
                    found.append([line.text for line in portion] if portion else None)
                except (OnnicornError, ClientLeft) as error:
                    return [*found, error]
            return found

    found = asyncio.run(scenario())
    assert budget.held == 0
    return found


def body(piece: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": piece, "more_body": more}


def test_a_portion_has_as_many_lines_as_have_come_up_to_a_number() -> None:
    assert taken(b"1\n2", b"\n3\n4\n5\n6\n7\n", b"", b"8\n9") == [
        [b"1"],
        [b"2", b"3", b"4"],
        [b"5", b"6", b"7"],
        [b"8"],
        [b"9"],
        None,
    ]


def test_a_portion_has_not_much_more_text_than_is_read_together() -> None:
    half = b"x" * (TOGETHER // 2)
    assert taken(half + b"\n" + half + b"\n1\n") == [[half, half], [b"1"], None]


def test_nothing_has_no_portions() -> None:
    assert taken(b"") == taken(b"\n\n", b"\n") == [None]


@pytest.mark.parametrize("end", [Draining(), None])
def test_what_was_read_is_taken_before_the_body_breaks_off(end: OnnicornError | None) -> None:
    *portions, last = taken(b"1\n2\n3\n4\n5", end)
    assert portions == [[b"1", b"2", b"3"], [b"4"]]
    assert type(last) is (Draining if end else ClientLeft)


def test_so_it_is_where_the_compression_breaks_off() -> None:
    packed = gzip.compress(b"1\n2\n") + b"nonsense"
    *portions, last = taken(packed, content_encoding="gzip")
    assert portions == [[b"1", b"2"]]
    assert type(last) is MalformedRequest
    *portions, last = taken(gzip.compress(b"1\n2\n3")[:-1], content_encoding="gzip")
    assert portions == [[b"1", b"2"]]  # nobody knows whether there is more of the third
    assert type(last) is MalformedRequest


@pytest.mark.parametrize("end", [b"", b"3"])
def test_so_it_is_where_too_many_blank_lines_follow(end: bytes) -> None:
    *portions, last = taken(b"1\n2\n" + b"\n" * 100 + end, most=50)
    assert portions == [[b"1", b"2"]]
    assert type(last) is RequestTooLarge


def test_the_beginning_of_a_long_line_is_held_and_there_may_be_no_room_for_it() -> None:
    piece = b"x" * TOGETHER
    assert taken(piece, piece, b"\n", room=2 * TOGETHER) == [[piece * 2], None]
    *portions, last = taken(b"1\n" + piece, piece, b"\n", room=2 * TOGETHER - 1)
    assert portions == [[b"1"]]
    assert isinstance(last, Overloaded)
    assert last.reason == "bytes"


def test_a_line_that_is_too_long_needs_no_room() -> None:
    piece = b"x" * TOGETHER
    assert taken(piece, piece, piece, b"\n1", most=TOGETHER, room=1) == [[None], [b"1"], None]


def test_the_record_knows_what_has_come() -> None:
    record = Record("7", None, "POST")
    messages = [body(b"1\n", more=True), body(b"2\n3", more=False)]

    async def receive() -> Message:
        return messages.pop(0)

    async def scenario() -> list[Line]:
        with Budget(1).hold() as hold:
            portions = Portions(receive, {}, record, Lines(9), lambda: MOST, hold, Caller())
            return [line for _ in range(3) for line in await portions.take() or ()]

    assert asyncio.run(scenario()) == [Line(1, b"1"), Line(2, b"2"), Line(3, b"3")]
    assert record.bytes_in == 5


def ended(*pieces: bytes, more: bool, after: int) -> tuple[list[Any], int]:
    """The portions of a body, when the service ends behind so many of them, and the first line that is in none."""
    caller, lines = Caller(), Lines(1 << 20)
    messages = [body(piece, more=more or number < len(pieces)) for number, piece in enumerate(pieces, start=1)]

    async def receive() -> Message:
        return messages.pop(0)

    async def scenario() -> tuple[list[Any], int]:
        with Budget(1 << 20).hold() as hold:
            portions = Portions(receive, {}, Record("7", None, "POST"), lines, lambda: MOST, hold, caller)
            found: list[Any] = []
            try:
                while not found or found[-1] is not None:
                    caller.is_dismissed = len(found) >= after
                    portion = await portions.take()
                    found.append([line.text for line in portion] if portion else None)
            except Draining:
                found.append("draining")
            return found, portions.untaken

    return asyncio.run(scenario())


@pytest.mark.parametrize("more", [False, True])
def test_nothing_is_taken_once_the_service_ends_be_it_here_or_not(more: bool) -> None:
    assert ended(b"1\n2\n3\n\n5\n6", more=more, after=1) == ([[b"1", b"2", b"3"], "draining"], 5)
    assert ended(b"1\n2\n3\n", b"\n5\n6", more=more, after=1) == ([[b"1", b"2", b"3"], "draining"], 4)


def test_who_has_been_answered_all_need_not_hear_of_the_end() -> None:
    assert ended(b"1\n2\n\n", more=False, after=1) == ([[b"1", b"2"], None], 5)
    assert ended(b"1\n2\n\n", more=True, after=1) == ([[b"1", b"2"], "draining"], 4)


def test_others_have_their_turn_while_much_becomes_nothing() -> None:
    """Blank lines, and members that are empty."""

    async def scenario(packed: bytes) -> int:
        others = 0

        async def wait() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0)

        async def receive() -> Message:
            return body(packed, more=False)

        with Budget(1 << 20).hold() as hold:
            given = {b"content-encoding": b"gzip"}
            portions = Portions(receive, given, Record("7", None, "POST"), Lines(8 << 20), lambda: MOST, hold, Caller())
            waiting = asyncio.create_task(wait())
            assert await portions.take() is None
            waiting.cancel()
        return others

    for packed in (gzip.compress(b"\n" * (4 << 20)), gzip.compress(b"") * 2000):
        assert asyncio.run(scenario(packed)) > 9


@pytest.mark.parametrize("coding", ["br", "gzip, gzip"])
def test_only_one_coding_is_read(coding: str) -> None:
    with pytest.raises(UnsupportedMedia):
        taken(b"", content_encoding=coding)


@pytest.mark.parametrize(
    ("media_type", "lines"),
    [
        ("application/x-ndjson", True),
        ("APPLICATION/JSONL ; charset=utf-8", True),
        ("application/json", False),
        ("", False),
    ],
)
def test_lines_say_that_they_are(media_type: str, lines: bool) -> None:
    assert are_lines({b"content-type": media_type.encode()}) is lines
