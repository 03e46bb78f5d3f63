"""`onnicorn golden`: record samples of a model, which every start replays before the model is served."""

from pathlib import Path
from typing import BinaryIO

import click

from service.cli.options import read_settings, repository_option
from service.cli.parameters import Finite
from service.errors import RepositoryError


@click.command(
    epilog="""\b
Examples:
  onnicorn golden digits --input request.json
  onnicorn golden digits/2 --count 3 --seed 7 --name random
  onnicorn describe digits --request - | onnicorn golden digits --input - --name example

Exit code 1 where the model does not take the input, a sample of that name is there already, or the replay differs."""
)
@click.argument("wanted", metavar="MODEL[/VERSION]", help="Without a version it is the one that is served by default.")
@click.option(
    "--input",
    "request",
    metavar="FILE",
    type=click.File("rb"),
    help="A request as JSON, {'inputs': [...]} or, for a transform, {'instances': [...]}; - is standard input. Without "
    "it inputs are made up: random numbers in shapes that the model takes.",
)
@click.option("--name", metavar="NAME", help="Of the file, without .json.  [default: that of --input, or random]")
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="Made-up samples.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random numbers.")
@click.option(
    "--tolerance",
    type=Finite(0),
    help="How far outputs may be from the recorded ones, absolute and relative.  [default: that of model.toml, 1e-5]",
)
@click.option("--force", is_flag=True, help="Write over samples of that name.")
@repository_option
def golden(
    wanted: str,
    request: BinaryIO | None,
    name: str | None,
    count: int,
    seed: int,
    tolerance: float | None,
    force: bool,
    repository: Path | None,
) -> None:
    """Record samples of MODEL: what goes in and what comes out now.

    They are written into the version's folder golden/, and the model is checked again with them as a start does.
    """
    if request is not None and count > 1:
        raise click.UsageError("--count is for made-up samples, --input is one")
    settings = read_settings(repository)
    # Only here: they import ONNX Runtime.
    from service.cli import recording
    from service.cli.selection import load, select

    entry = select(settings, wanted).entry
    model = load(settings, entry)
    if entry.golden is None:
        raise RepositoryError(f"{entry.file} is a repository by itself: move it to {entry.name}/1/model.onnx in one")
    files = [entry.golden / f"{each}.json" for each in _names(name or _stem(request), count)]
    _refuse_to_overwrite([] if force else files)
    made = [recording.given(model, request.read(), settings)] if request else recording.made(model, count, seed)
    given = {} if tolerance is None else {"tolerance": tolerance}
    samples = {file: sample | given for file, sample in zip(files, made, strict=True)}
    with recording.undone_on_failure(files):
        recording.write(samples)
        select(settings, f"{entry.name}/{entry.version}")
    for file in files:
        click.echo(f"{file}: recorded and replayed")


def _stem(request: BinaryIO | None) -> str:
    if request is None:
        return "random"
    name = getattr(request, "name", "<stdin>")
    return "stdin" if name == "<stdin>" else Path(name).stem


def _names(name: str, count: int) -> list[str]:
    if "/" in name or name.startswith("."):
        raise click.BadParameter(f"{name!r}: expected a file's name, without its folder", param_hint="--name")
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


def _refuse_to_overwrite(files: list[Path]) -> None:
    if there := [str(file) for file in files if file.exists()]:
        raise RepositoryError(f"{', '.join(there)}: there already; choose another --name, or --force")
