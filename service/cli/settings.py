"""`onnicorn settings`: every setting, what it is now, where that comes from, and what it does."""

import os
import re
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import click
from pydantic.fields import FieldInfo

from service.cli.options import echo_json, json_option
from service.errors import SettingsError
from service.settings import PLATFORM_WORKERS, Settings, bounds, choices, variables

_UNITS: Final = {
    "_bytes_per_second": "bytes/s",
    "_bytes": "bytes",
    "_seconds": "s",
    "_ms": "ms",
    "_days": "days",
    "_rows": "rows",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One of them. `value` is None where it is unset; `source` is default, environment or another variable."""

    variable: str
    value: Any
    source: str
    unit: str
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    effect: str

    def __str__(self) -> str:
        value = f"={self.value}" if self.value not in (None, "") else " is not set"
        head = click.style(self.variable, bold=True) + f"{value}{f' {self.unit}' if self.unit else ''}  ({self.source})"
        return f"{head}\n    {self.effect}{self._limits()}"

    def _limits(self) -> str:
        if self.choices:
            return f" One of {', '.join(self.choices)}."
        least, most = (None if limit is None else f"{limit:,}" for limit in (self.least, self.most))
        if least and most:
            return f" {least} to {most}."
        return f" {least} or more." if least else ""


@click.command(
    epilog="""\b
Examples:
  onnicorn settings
  onnicorn settings batching
  onnicorn settings 'limits.*_bytes' --json

Exit code 1 where a variable is wrong, or nothing matches PATTERN."""
)
@click.argument("pattern", required=False, help="A part of the name, such as batching, http.bind or '*_SECONDS'.")
@json_option
def settings(pattern: str | None, as_json: bool) -> None:
    """List the settings, what they are now, and what they do.

    Variable, value, unit, where the value comes from, effect, bounds. A setting `group.name` is the environment
    variable ONNICORN_GROUP__NAME. Where the keys of clients lie is not shown.
    """
    known, wrong = Settings.as_far_as_valid(os.environ)
    # What is wrong has its default, and its sentence begins with the variable.
    given = {name.upper() for name in os.environ} - {re.split("[=:]", sentence)[0] for sentence in wrong}
    listed = [each for each in all_of(known, given) if _matches(each.variable, pattern)]
    if as_json:
        echo_json({"settings": [asdict(each) for each in listed]})
    else:
        click.echo("\n".join(map(str, listed)))
    if not listed:
        wrong.append(f"no setting matches {pattern!r}; `onnicorn settings` lists all of them")
    if wrong:
        raise SettingsError("; ".join(wrong))


def all_of(settings: Settings, given: Set[str]) -> Iterator[Setting]:
    """In the order of declaration; `given` are the variables of the environment."""
    for variable, (group, name, field) in variables().items():
        value = getattr(getattr(settings, group), name)
        least, most = bounds(field)
        yield Setting(
            variable=variable,
            value=_shown(value, field),
            source=_source(variable, value, given),
            unit=next((unit for ending, unit in _UNITS.items() if f"_{name}".endswith(ending)), ""),
            least=least,
            most=most,
            choices=choices(field),
            effect=str(field.description),
        )


def _source(variable: str, value: Any, given: Set[str]) -> str:
    if variable in given:
        return "environment"
    is_the_platforms = variable.endswith("RUNTIME__WORKERS") and value is not None
    return PLATFORM_WORKERS if is_the_platforms else "default"


def _shown(value: Any, field: FieldInfo) -> Any:
    """As one would write it into the variable."""
    if value is not None and not field.repr:
        return "***"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, int | float) else str(value)


def _matches(variable: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(variable, f"*{pattern.upper().replace('.', '__')}*")
