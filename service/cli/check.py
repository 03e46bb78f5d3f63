"""`onnicorn check`: would the service start here, and what is wrong: all of it, and not only the first."""

from dataclasses import asdict
from pathlib import Path

import click

from service.cli.findings import Findings, Level
from service.cli.options import YOURS, echo_json, json_option, repository_option
from service.plan import some


@click.command(
    epilog="""\b
Examples:
  onnicorn check
  onnicorn check --repository /srv/models --json

Each line is ok, warn (the start goes on) or fail. Exit code 0 where the service would start, 1 where it would not."""
)
@repository_option
@json_option
@click.pass_context
def check(context: click.Context, repository: Path | None, as_json: bool) -> None:
    """Would the service start here, and what is wrong?

    Goes through the steps of a start: settings, Gunicorn's options, certificates, folders, API keys, addresses; then
    finds, checks, prepares, loads and warms up every model, replays its golden samples, and plans workers and memory.
    Nothing is served; what is prepared stays in the cache. Of a Triton config.pbtxt beside a model it says what is
    honoured, and what to write instead.
    """
    findings = Findings(lambda finding: None if as_json else click.echo(str(finding)))
    with findings.hearing():
        _go_through(findings, repository)
    failures, warnings = findings.count(Level.FAIL), findings.count(Level.WARN)
    if as_json:
        echo_json({"starts": not failures, "findings": [asdict(finding) for finding in findings.all]})
    else:
        verdict = f"would not start: {some(failures, 'failure')}" if failures else "would start"
        click.echo(f"The service {verdict}" + (f", {some(warnings, 'warning')}" if warnings else ""))
    context.exit(YOURS if failures else 0)


def _go_through(findings: Findings, repository: Path | None) -> None:
    # Only here: both import ONNX Runtime or Gunicorn, for which no other command shall wait.
    from service.cli.surroundings import look_around, look_at_settings
    from service.cli.trial import try_models

    settings = look_at_settings(findings, repository)
    look_around(findings, settings)
    try_models(findings, settings)
