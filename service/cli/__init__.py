"""The command line: `onnicorn serve`, `onnicorn check` and the others, one module each."""

import errno
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import click
import structlog

from service.cli.bench import bench
from service.cli.check import check
from service.cli.describe import describe
from service.cli.fetch import fetch
from service.cli.golden import golden
from service.cli.key import key
from service.cli.options import YOURS, echo_error, wants_colours
from service.cli.plan import plan
from service.cli.prepare import prepare
from service.cli.serve import serve
from service.cli.settings import settings
from service.errors import StartError


class _Once:
    """A command may load a model several times; what is to be said of it is said once."""

    def __init__(self) -> None:
        self._said: list[dict[str, Any]] = []

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event in self._said:
            raise structlog.DropEvent
        self._said.append(dict(event))
        return event


class _Group(click.Group):
    """A user's mistake is one line on standard error and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.color = wants_colours()
        # What the service would log goes to standard error, so that standard output is the answer alone.
        structlog.configure(
            processors=[
                _Once(),
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
                structlog.dev.ConsoleRenderer(colors=ctx.color is not False and sys.stderr.isatty()),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
        try:
            return super().invoke(ctx)
        except StartError as error:
            echo_error(str(error))
        except OSError as error:
            if error.errno == errno.EPIPE:  # nobody reads on: click knows what to do
                raise
            echo_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        ctx.exit(YOURS)


_EPILOG = """\b
Your own model, served, called and measured:
  onnicorn check --repository model.onnx
  onnicorn serve --repository model.onnx
  onnicorn describe model --repository model.onnx  (its last line calls it)
  onnicorn bench http://127.0.0.1:8000/v2/models/model

\b
Exit codes:
  0   done
  1   something of yours is wrong, and the message says what
  2   the command line was not understood
  75  not done, and trying again later may help (fetch)
"""


@click.group(cls=_Group, epilog=_EPILOG)
@click.version_option(package_name="onnicorn")
def main() -> None:
    """Serve ONNX models over HTTP. Settings come from ONNICORN_* variables; `onnicorn settings` lists them."""


for command in (bench, check, describe, fetch, golden, key, plan, prepare, serve, settings):
    main.add_command(command)
