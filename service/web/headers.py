"""A request's headers by their names."""

from collections.abc import Sequence


def fields(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """What stands in several lines of one name is one list (RFC 9110, 5.3).

    So none of them is passed over: where one value is expected, a list is refused like any other that is wrong.
    """
    given = dict(headers)
    if len(given) == len(headers):
        return given
    lines: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lines.setdefault(name, []).append(value)
    return {name: b", ".join(values) for name, values in lines.items()}
