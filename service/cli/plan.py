"""`onnicorn plan`: what the service would make of this machine, and why."""

from dataclasses import asdict

import click
import orjson

from service.plan import Plan, fit, memory_limit, plan_for_this_machine, some, with_bodies
from service.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def plan(settings: Settings, as_json: bool) -> None:
    """Print how many workers and threads the service would run here, and why.

    Checks and prepares the models, since what they weigh is part of it.
    """
    # Only here: it imports ONNX Runtime, for which `onnicorn serve` would wait twice.
    from service.loading import prepare_generation, weights

    manifest = prepare_generation(settings, number=1)
    models, limit = weights(manifest.entries), memory_limit()
    made = with_bodies(fit(plan_for_this_machine(settings.runtime), models, limit), settings.admission, models, limit)
    click.echo(orjson.dumps(asdict(made)) if as_json else _text(made))


def _text(made: Plan) -> str:
    head = f"{some(made.workers, 'worker')} with {some(made.intra_op_threads, 'thread')} each"
    return "\n".join((head, *(f"  {reason}" for reason in made.reasons)))
