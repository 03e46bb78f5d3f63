"""What several commands share: the repository they read, their answer for programs, colours, exit codes."""

import os
import sys
from pathlib import Path
from typing import Any, Final

import click
import orjson

from service.settings import Settings

YOURS: Final = 1
"""The exit code where something of the user's is wrong, and a message says what. 2 is click's own."""

repository_option = click.option(
    "--repository",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A directory of models, a directory with a model.onnx, or one .onnx file; "
    "in place of ONNICORN_REPOSITORY__PATH, whose default is ./models.",
)
"""Passes `repository`, for `read_settings`."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, for programs; nothing else is there."
)


def read_settings(repository: Path | None = None) -> Settings:
    """From the environment, and from what `--repository` says. Raises SettingsError, which names every wrong one."""
    return Settings.from_environment(os.environ, repository)


def echo_json(document: Any) -> None:
    """Paths and the like as text."""
    click.echo(orjson.dumps(document, default=str, option=orjson.OPT_INDENT_2 if _is_watched() else None))


def echo_error(sentence: str) -> None:
    click.echo(f"onnicorn: {sentence}", err=True)


def wants_colours() -> bool | None:
    """None leaves it to click, which asks whether the output is a terminal (https://no-color.org)."""
    return False if os.environ.get("NO_COLOR") else None


def _is_watched() -> bool:
    return sys.stdout.isatty()
