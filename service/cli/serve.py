"""`onnicorn serve`: check the environment and become Gunicorn."""

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from service.cli.options import read_settings, repository_option
from service.errors import SettingsError
from service.settings import Settings, variables
from service.supervision.command import COMMAND

_ARGUMENTS: Final = "GUNICORN_CMD_ARGS"
_FILES: Final = frozenset({"--certfile", "--keyfile", "--ca-certs", "--pid", "-p"})


@click.command(
    epilog="""\b
Examples:
  onnicorn serve --repository models
  ONNICORN_HTTP__BIND=0.0.0.0:8000 onnicorn serve
  GUNICORN_CMD_ARGS="--certfile cert.pem --keyfile key.pem" onnicorn serve

Exit code 0 after SIGTERM; 1 where something is wrong, which the last line of the log names (`onnicorn check` names
everything)."""
)
@repository_option
def serve(repository: Path | None) -> None:
    """Serve the models, until SIGTERM. Options of Gunicorn's own go into GUNICORN_CMD_ARGS."""
    settings = read_settings(repository)
    environment = from_anywhere(settings, os.environ, Path.cwd())
    # Python and Gunicorn look for modules in the working directory first, where a project may have a `service/` too.
    os.chdir("/")
    os.execve(COMMAND[0], COMMAND, environment)  # noqa: S606 - no shell: the master is us


def from_anywhere(settings: Settings, environ: Mapping[str, str], here: Path) -> dict[str, str]:
    """The environment in which every file that is named, defaults included, is found from any working directory.

    Raises SettingsError if Gunicorn's options cannot be read.
    """
    absolute = {variable: str(here / path) for variable, path in _paths(settings)}
    if arguments := environ.get(_ARGUMENTS):
        absolute[_ARGUMENTS] = _with_absolute_files(arguments, here)
    # Settings may be spelled in any case, and of two spellings nobody knows which one counts.
    return {name: value for name, value in environ.items() if name.upper() not in absolute} | absolute


def _paths(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Those that are relative, and that of the repository, which may come from the command line."""
    for variable, (group, name, _) in variables().items():
        value = getattr(getattr(settings, group), name)
        if isinstance(value, Path) and (not value.is_absolute() or group == "repository"):
            yield variable, value


def _with_absolute_files(arguments: str, here: Path) -> str:
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise SettingsError(f"{_ARGUMENTS}={arguments}: {str(error).lower()}") from None
    for place, word in enumerate(words):
        option, equals, file = word.partition("=")
        if option in _FILES and equals:
            words[place] = f"{option}={here / file}"
        elif place and words[place - 1] in _FILES:
            words[place] = str(here / word)
    return shlex.join(words)
