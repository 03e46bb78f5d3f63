"""`onnicorn plan`: what the service would make of this machine, and why."""

from dataclasses import asdict
from pathlib import Path

import click

from service.cli.options import echo_json, json_option, read_settings, repository_option
from service.plan import Plan, plan_for_this_machine, some


@click.command(
    epilog="""\b
Examples:
  onnicorn plan --repository models
  ONNICORN_RUNTIME__PROFILE=latency onnicorn plan --json

Exit code 1 where a setting is wrong, a model cannot be served, or memory does not suffice."""
)
@repository_option
@json_option
def plan(repository: Path | None, as_json: bool) -> None:
    """Say how many workers and threads would run here, and why.

    Checks and prepares the models, since what they weigh is part of it.
    """
    settings = read_settings(repository)
    # Only here: it imports ONNX Runtime, for which `onnicorn serve` would wait twice.
    from service.loading import fitted, prepare_generation

    manifest = prepare_generation(settings, number=1)
    made = fitted(plan_for_this_machine(settings.runtime), settings, manifest.entries)
    if as_json:
        echo_json(asdict(made))
    else:
        click.echo(_text(made))


def _text(made: Plan) -> str:
    head = f"{some(made.workers, 'worker')} with {some(made.intra_op_threads, 'thread')} each"
    return "\n".join((head, *(f"  {reason}" for reason in made.reasons)))
