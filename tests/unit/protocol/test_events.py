"""Lines however they are cut, events, and what stands where no answer can."""

import json

import pytest

from service.errors import Draining, MalformedRequest, RequestTooLarge
from service.protocol.events import EVENT_END, Line, Lines, event_head, event_problem, line_problem

TEXT = '{"a":"ä"}\n\n{"b":"\\n"}\r\n  \t\n{"c":"€🦄"}'.encode()
WHOLE = [Line(1, '{"a":"ä"}'.encode()), Line(3, b'{"b":"\\n"}'), Line(5, '{"c":"€🦄"}'.encode())]


def lines_of(*pieces: bytes, most: int = 100) -> list[Line]:
    lines = Lines(most)
    return [*(line for piece in pieces for line in lines.feed(piece)), *lines.end()]


@pytest.mark.parametrize("size", range(1, len(TEXT) + 1))
def test_it_does_not_matter_how_lines_are_cut(size: int) -> None:
    """In the middle of a character neither."""
    assert lines_of(*(TEXT[start : start + size] for start in range(0, len(TEXT), size))) == WHOLE


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\r\n \t\n", b" "])
def test_blank_lines_are_no_lines(text: bytes) -> None:
    assert lines_of(text) == []


def test_the_last_line_needs_no_end() -> None:
    assert lines_of(b"1\n2") == lines_of(b"1\n2\n") == [Line(1, b"1"), Line(2, b"2")]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"12345\n123456\n1\n",),
        (b"12345\n1234", b"56\n1\n"),
        (b"12345\n1234", b"567", b"89", b"\n1"),
        (b"12345\n", b"123456", b"\n", b"1"),
    ],
)
def test_a_line_that_is_too_long_is_passed_over_to_its_end(pieces: tuple[bytes, ...]) -> None:
    assert lines_of(*pieces, most=5) == [Line(1, b"12345"), Line(2, None), Line(3, b"1")]


def test_blank_lines_in_a_row_are_together_no_longer_than_a_line_may_be() -> None:
    assert lines_of(b"\n" * 5 + b"1\n" + b"\n" * 5, b"2", most=5) == [Line(6, b"1"), Line(12, b"2")]
    with pytest.raises(RequestTooLarge, match=r"^more than 5 bytes of blank lines follow each other$"):
        lines_of(b"1\n\n\n\n", b"\r\n\n", most=5)


def test_a_last_line_may_be_too_long_as_well() -> None:
    assert lines_of(b"1\n123", b"456", most=5) == [Line(1, b"1"), Line(2, None)]


def test_of_a_line_that_is_too_long_nothing_is_kept() -> None:
    lines = Lines(5)
    held = [(list(lines.feed(piece)), lines.held) for piece in (b"123", b"45", b"6", b"7", b"\n", b"12")]
    assert held == [([], 3), ([], 5), ([], 0), ([], 0), ([Line(1, None)], 0), ([], 2)]
    assert str(lines.too_long()) == "the line is longer than 5 bytes, the most that is read of one"


def test_the_line_that_has_begun_is_the_first_that_was_not_given() -> None:
    """Also while others of the same piece are still to be given."""
    lines = Lines(100)
    begun = []
    for line in lines.feed(b"1\n\n3\n4\n5"):
        begun.append((line.number, lines.begun))
    assert begun == [(1, 2), (3, 4), (4, 5)]
    assert (lines.begun, lines.held) == (5, 1)


def test_an_event_has_an_identity_and_its_data_in_one_line() -> None:
    assert event_head(7) + b'{"x":1}' + EVENT_END == b'id: 7\ndata: {"x":1}\n\n'


def test_the_last_event_says_why_there_are_no_more() -> None:
    assert event_problem(Draining(), "mine") == (
        b'event: error\ndata: {"error":"the service is ending; nothing was run, send the request to another instance",'
        b'"code":"draining","request_id":"mine"}\n\n'
    )


def test_a_line_says_why_there_is_no_answer() -> None:
    text = line_problem(MalformedRequest("no\nJSON"), 3)
    assert text.endswith(b"}\n")
    assert text.count(b"\n") == 1
    assert json.loads(text) == {"error": "no\nJSON", "code": "malformed_request", "line": 3}


def test_a_sentence_is_not_repeated_at_any_length() -> None:
    assert len(line_problem(MalformedRequest("x" * 10_000), 3)) < 5000
