"""`onnicorn key`: a new API key for a client, and what the file of keys must say of it."""

import re
from collections.abc import Iterable

import click

from service.access import NAME, Scope, digest_of, new_key

_DEFAULT = (Scope.INFER.value, Scope.METADATA.value)


@click.command(
    epilog="""\b
Examples:
  onnicorn key checkout 2>> keys.toml
  onnicorn key operator --scope admin --scope metadata 2>> keys.toml

Exit code 2 where CLIENT cannot be a name."""
)
@click.argument("client", help="A name: letters, digits, '.', '_' and '-', at most 128. It stands in the logs.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=_DEFAULT,
    show_default=True,
    help="What the client may do; several may be given.",
)
def key(client: str, scopes: tuple[str, ...]) -> None:
    """Print a new API key for CLIENT.

    It is on standard output, nowhere else, and is shown only this once.
    Standard error has the lines for the file that ONNICORN_ACCESS__KEYS names.
    """
    if not re.fullmatch(NAME, client):
        raise click.BadParameter("expected letters, digits, '.', '_' and '-', at most 128", param_hint="CLIENT")
    made = new_key()
    click.echo(_lines(client, dict.fromkeys(scopes), digest_of(made.encode())), err=True)
    click.echo(made)


def _lines(client: str, scopes: Iterable[str], digest: str) -> str:
    """TOML. A name with a dot in it must be quoted there."""
    table = f'"{client}"' if "." in client else client
    listed = ", ".join(f'"{scope}"' for scope in scopes)
    return (
        "# For the file that ONNICORN_ACCESS__KEYS names. Has the client a table there already, add the digest to its "
        f'keys.\n[clients.{table}]\nscopes = [{listed}]\nkeys = ["{digest}"]'
    )
