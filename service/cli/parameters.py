"""Kinds of options that click does not know."""

import os
import re
from math import isfinite
from pathlib import Path
from typing import Any, Final

import click

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~]*?)[ \t]*")
_MOST: Final = 1e9


class Finite(click.FloatRange):
    """Within the bounds; `nan` is in no range, and would pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"expected a number, got {value!r}", param, ctx)
        return number


class Several(click.ParamType[Any]):
    """`1,2,4`: numbers from `least` on, each once."""

    def __init__(self, least: float, number: type[int] | type[float] = int) -> None:
        self.name = "N,..." if number is int else "R,..."
        self._least, self._number = least, number

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(dict.fromkeys(self._number(part) for part in value.split(",")))
        except ValueError:
            numbers = ()
        if not numbers or not all(self._least <= each < _MOST for each in numbers):
            self.fail(f"expected numbers from {self._least:g} on, separated by commas, got {value!r}", param, ctx)
        return numbers


class Header(click.ParamType[Any]):
    """`NAME: VALUE`, as a pair; the name in lower case."""

    name = "'NAME: VALUE'"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        found = _HEADER.fullmatch(value)
        if not found:
            # The value may be a key, and is not repeated.
            self.fail("expected NAME: VALUE in ASCII, as in 'authorization: Bearer KEY'", param, ctx)
        return found[1].lower(), found[2]


class Output(click.Path):
    """A file that can be written: that it cannot shall not be found out after minutes. `-` is standard output."""

    def __init__(self, suffix: str = "") -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True, allow_dash=not suffix)
        self._suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        file = Path(os.fsdecode(super().convert(value, param, ctx)))
        if self._suffix and file.suffix != self._suffix:
            self.fail(f"expected the name of a file that ends with {self._suffix}, got {str(file)!r}", param, ctx)
        if value == "-" or file.exists():
            return file
        if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
            self.fail(f"{file} cannot be written: there is no such folder, or it is not ours", param, ctx)
        return file
