"""Headers of one name are one, whatever their number of lines."""

import pytest

from service.web.headers import fields


@pytest.mark.parametrize(
    ("headers", "given"),
    [
        ([], {}),
        ([(b"a", b"1"), (b"b", b"2")], {b"a": b"1", b"b": b"2"}),
        (
            [(b"a", b"1"), (b"b", b"2"), (b"a", b""), (b"a", b"1, 3")],
            {b"a": b"1, , 1, 3", b"b": b"2"},
        ),
    ],
)
def test_lines_of_one_name_are_a_list(headers: list[tuple[bytes, bytes]], given: dict[bytes, bytes]) -> None:
    assert fields(headers) == given
