"""The command line: `onnicorn serve`, `onnicorn fetch`, `onnicorn plan`, `onnicorn prepare`, `onnicorn key`."""

import logging
import os
import sys
from typing import Any

import click
import structlog

from service.cli.fetch import fetch
from service.cli.key import key
from service.cli.plan import plan
from service.cli.prepare import prepare
from service.cli.serve import serve
from service.errors import StartError
from service.settings import Settings


class _Group(click.Group):
    """An operator's mistake is one line on standard error and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        # What the service would log goes to standard error, so that standard output is the answer alone.
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
        try:
            ctx.obj = Settings.from_environment(os.environ)
            return super().invoke(ctx)
        except StartError as error:
            click.echo(f"onnicorn: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Group)
@click.version_option(package_name="onnicorn")
def main() -> None:
    """Serve ONNX models over HTTP. Settings come from ONNICORN_* variables."""


main.add_command(fetch)
main.add_command(key)
main.add_command(plan)
main.add_command(prepare)
main.add_command(serve)
