"""`onnicorn prepare`: fill the cache ahead of the start, for image builds and init containers."""

from pathlib import Path

import click

from service.cli.options import echo_json, json_option, read_settings, repository_option
from service.errors import RepositoryError


@click.command(
    epilog="""\b
Examples:
  onnicorn prepare
  onnicorn prepare digits --repository /srv/models --json

Exit code 1 where a model cannot be served, and where it could only be served without a prepared form."""
)
@click.argument("model", required=False, help="A model's name; all of them where none is given.")
@repository_option
@json_option
def prepare(model: str | None, repository: Path | None, as_json: bool) -> None:
    """Check and prepare models, and say where the prepared form lies.

    ONNICORN_CACHE__DIR names the directory that takes it: 2.5 times the models' size.
    """
    settings = read_settings(repository)
    # Only here: it imports ONNX Runtime, for which `onnicorn serve` would wait twice.
    from service.loading import prepare_generation

    manifest = prepare_generation(settings, number=1, only=model)
    if not manifest.entries:
        raise RepositoryError(f"no model in {settings.repository.path} can be served; the log above says why")
    places = {f"{entry.name}/{entry.version}": entry.prepared and entry.prepared.parent for entry in manifest.entries}
    if as_json:
        echo_json({"prepared": places})
    else:
        for name, place in places.items():
            click.echo(f"{name}: {place or 'not prepared'}")
    if missing := [entry.name for entry in manifest.entries if entry.prepared is None]:
        raise RepositoryError(f"not prepared: {', '.join(missing)}; the log above says why")
