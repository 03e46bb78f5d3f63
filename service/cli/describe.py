"""`onnicorn describe`: what a model is, how it would be served here, and how it is called."""

import os
from pathlib import Path
from typing import Any

import click

from service.cli.options import echo_json, json_option, read_settings, repository_option
from service.errors import RepositoryError


@click.command(
    epilog="""\b
Examples:
  onnicorn describe digits
  onnicorn describe digits/1 --json --repository /srv/models
  onnicorn describe digits --request - | curl -sS --data-binary @- http://127.0.0.1:8000/v2/models/digits/infer

Exit code 1 where there is no such model, or it cannot be served."""
)
@click.argument("wanted", metavar="MODEL[/VERSION]", help="Without a version it is the one that is served by default.")
@click.option(
    "--request",
    "file",
    metavar="FILE",
    type=click.File("wb", lazy=True),
    help="Write a request that the model answers to FILE (- is standard output), and nothing else.",
)
@repository_option
@json_option
def describe(wanted: str, file: Any, repository: Path | None, as_json: bool) -> None:
    """Say what a model is, and how it is called.

    Signature, size, operators, opsets, what runs it, batching and limits in force, and a curl line that works as it
    stands. The model is checked, prepared and loaded as the service does it. -1 in a shape stands for any size.
    """
    settings = read_settings(repository)
    # Only here: it imports ONNX Runtime.
    from service.cli import description
    from service.cli.request import Request
    from service.cli.selection import load, select

    selection = select(settings, wanted)
    model = load(settings, selection.entry)
    request = Request(model, selection.is_default)
    if file is not None:
        _write(file, request.body)
        return
    document = description.describe(model, settings, selection, request.command(settings, _has_tls(), repository))
    if as_json:
        echo_json(document)
    else:
        click.echo(description.text(document))


def _write(file: Any, body: bytes | None) -> None:
    from service.cli.description import NO_REQUEST

    if body is None:
        raise RepositoryError(NO_REQUEST)
    file.write(body)


def _has_tls() -> bool:
    return "certfile" in os.environ.get("GUNICORN_CMD_ARGS", "")
