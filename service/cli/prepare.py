"""`onnicorn prepare`: fill the cache ahead of the start, for image builds and init containers."""

import click

from service.errors import RepositoryError
from service.settings import Settings


@click.command()
@click.argument("model", required=False)
@click.pass_obj
def prepare(settings: Settings, model: str | None) -> None:
    """Check and prepare MODEL, or every model of the repository, and say where the prepared form lies.

    Fails where a model cannot be served, and where it could only be served without a prepared form.
    """
    # Only here: it imports ONNX Runtime, for which `onnicorn serve` would wait twice.
    from service.loading import prepare_generation

    manifest = prepare_generation(settings, number=1, only=model)
    if not manifest.entries:
        raise RepositoryError(f"there is no model {model!r} in {settings.repository.path}" if model else "no models")
    for entry in manifest.entries:
        click.echo(f"{entry.name}/{entry.version}: {entry.prepared.parent if entry.prepared else 'not prepared'}")
    if missing := [entry.name for entry in manifest.entries if entry.prepared is None]:
        raise RepositoryError(f"not prepared: {', '.join(missing)}; the log above says why")
