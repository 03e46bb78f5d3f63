"""`onnicorn bench`: how fast a service answers, and with which settings it would answer faster."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click
import orjson

from service.cli.options import YOURS, read_settings, repository_option
from service.cli.parameters import Finite, Header, Output, Several
from service.cli.serve import from_anywhere

# Imported inside functions, since it brings numpy and more, for which every other command would wait.
if TYPE_CHECKING:
    from service.bench.contenders import Contenders
    from service.bench.report import Report
    from service.bench.sample import Sample
    from service.bench.trial import Pace

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STANDARD_OUTPUT: Final = Path("-")


@click.command(
    epilog="""\b
Examples:
  onnicorn bench http://127.0.0.1:8000/v2/models/digits
  onnicorn bench digits --rate 100,500,1000 --seconds 10
  onnicorn bench digits --goal-ms 10 --picture digits.svg
  onnicorn bench digits --workers 1,2 --threads 1,2 --batch 1,32 --json -

Exit code 1 where nothing can be measured, where nothing meets the goal, and after Ctrl-C; what was measured until
then is printed."""
)
@click.argument("target", metavar="URL|MODEL[/VERSION]", help="http://HOST:PORT/v2/models/NAME, or one to be served.")
@repository_option
@click.option("--rate", "rates", type=Several(0.01, float), default=(), help="Requests a second to measure at.")
@click.option("--seconds", type=Finite(0.1, 86400), help="At each rate.  [default: 3; 2 where settings are tried]")
@click.option(
    "--rounds", type=click.IntRange(1, 100), help="How often all take turns.  [default: 1; 2 where settings are tried]"
)
@click.option("--connections", type=click.IntRange(1, 10_000), default=64, show_default=True, help="Kept open.")
@click.option("--input", "file", type=click.File("rb"), help="The request to send, as the protocol's JSON; - is stdin.")
@click.option("--binary", is_flag=True, help="Send tensors as raw bytes behind the JSON, and ask for the same.")
@click.option("--header", "headers", type=Header(), multiple=True, help="Sent with each request; may be repeated.")
@click.option("--goal-ms", type=Finite(0.001, 3_600_000), help="Milliseconds for the 99th percentile.")
@click.option("--workers", type=Several(1), default=(), help="Worker processes to try.")
@click.option("--threads", type=Several(1), default=(), help="Threads in each worker to try.")
@click.option("--batch", "rows", type=Several(1), default=(), help="The most rows that run together, to try.")
@click.option("--oversubscribed", is_flag=True, help="Try also what needs more CPUs than there are.")
@click.option("--json", "document", type=Output(), help="All figures; - is standard output, in place of the table.")
@click.option("--picture", type=Output(".svg"), help="Latency against throughput, drawn.")
@click.pass_context
def bench(ctx: click.Context, /, document: Path | None, picture: Path | None, **asked: Any) -> None:
    """Measure how fast a model is answered.

    That of a service that runs, by its URL; or a MODEL of the repository, for which the service is started, on free
    ports of this machine, and ended again.

    Without --rate a short closed loop finds the peak, and latencies are measured at shares of it. Requests are sent at
    random times that are fixed beforehand, and a latency counts from when its request should have been sent: what waits
    behind a slow one is slow, too. Only answers with 200 have a latency.

    For a MODEL, --workers, --threads and --batch are tried each with each; --goal-ms alone tries those that may pay
    here. The settings that do most under the goal are recommended.

    Columns: requests/s asked for and done; latencies; errors by status; late, the share of requests that left more than
    a millisecond after their time, which is in their latencies; away, the share of the time in which the load generator
    itself did not have its core. Of several rounds the medians are shown, and the worst of max, late and away.
    """
    report = _measured(_Asked(**asked))
    written = orjson.dumps(report.document(), option=orjson.OPT_INDENT_2)
    if document not in (None, _STANDARD_OUTPUT):
        document.write_bytes(written + b"\n")
    if picture and report.measured:
        report.draw(picture)
    click.echo(written if document == _STANDARD_OUTPUT else str(report))  # last: whoever reads may leave
    if not report.is_complete:
        click.echo("onnicorn: interrupted; whatever was started for it has been ended", err=True)
    if not report.is_good:
        ctx.exit(YOURS)


@dataclass(frozen=True)
class _Asked:
    """What the command line says."""

    target: str
    repository: Path | None
    rates: tuple[float, ...]
    seconds: float | None
    rounds: int | None
    connections: int
    file: BinaryIO | None
    binary: bool
    headers: Sequence[tuple[str, str]]
    goal_ms: float | None
    workers: tuple[int, ...]
    threads: tuple[int, ...]
    rows: tuple[int, ...]
    oversubscribed: bool

    def __post_init__(self) -> None:
        if self.file and self.binary:
            raise click.UsageError("--binary is for inputs that are made up, not for --input")
        if self.is_url and (self.workers or self.threads or self.rows or self.repository):
            raise click.UsageError(
                "a service that runs keeps its settings: --workers, --threads, --batch and --repository are for a MODEL"
            )

    @property
    def is_url(self) -> bool:
        return ":" in self.target  # which is in no model's name

    def sample(self) -> "Sample | None":
        from service.bench.sample import read

        return read(Path(self.file.name), self.file.read()) if self.file else None

    def pace(self, *, is_sweep: bool) -> "Pace":
        from service.bench.trial import FEWER_SHARES, SHARES, Pace

        return Pace(
            seconds=self.seconds or (2 if is_sweep else 3),
            connections=self.connections,
            rates=self.rates,
            shares=FEWER_SHARES if is_sweep else SHARES,
            rounds=self.rounds or (2 if is_sweep else 1),
        )


class _Interruption:
    """Asked for by the first signal, and looked at where nothing is half done. The second one does not wait."""

    def __init__(self) -> None:
        self._is_asked = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def look(self) -> None:
        """Raises KeyboardInterrupt."""
        if self._is_asked:
            raise KeyboardInterrupt

    def _ask(self, *_: object) -> None:
        self.look()
        self._is_asked = True


def _measured(asked: _Asked) -> "Report":
    from service.bench import sample
    from service.bench.generator import Generator
    from service.bench.report import Report
    from service.bench.server import START_SECONDS
    from service.bench.target import Target
    from service.bench.trial import take_turns

    interruption, given = _Interruption(), asked.sample()
    contenders = _contenders(asked, interruption.look)
    pace = asked.pace(is_sweep=len(contenders.trials) > 1)
    found: list[sample.Sample] = []

    def find_sample(target: Target) -> sample.Sample:
        found[:] = found or [sample.found(target, given, is_binary=asked.binary)]
        return found[0]

    def report(is_complete: bool) -> Report:
        goal = asked.goal_ms and asked.goal_ms / 1000
        sent = found[0].what if found else ""
        return Report(contenders.name, sent, pace, contenders.trials, goal, contenders.notes, is_complete)

    seconds = pace.total(len(contenders.trials), 0 if asked.is_url else START_SECONDS)
    with interruption.heard():
        _announce(contenders, seconds)
        try:
            with Generator() as generator, _progress(seconds, interruption.look) as tick:
                take_turns(contenders.trials, pace, find_sample, generator, tick)
        except KeyboardInterrupt:
            return report(is_complete=False)
    return report(is_complete=True)


def _contenders(asked: _Asked, look: Callable[[], None]) -> "Contenders":
    from service.bench.contenders import Sweep, of_model, running_service
    from service.bench.target import Target

    if asked.is_url:
        target = Target.parse(asked.target, dict(asked.headers))
        target.signature()  # what is wrong with it shall be said before anything is announced
        return running_service(target)
    settings = read_settings(asked.repository)
    sweep = Sweep(asked.workers, asked.threads, asked.rows, asked.goal_ms is not None, asked.oversubscribed)
    environment = from_anywhere(settings, os.environ, Path.cwd())
    return of_model(settings, environment, asked.target, sweep, dict(asked.headers), look)


def _announce(contenders: "Contenders", seconds: float) -> None:
    ways = len(contenders.trials)
    what = f"{contenders.name}: {ways} combinations of settings" if ways > 1 else contenders.name
    click.echo(f"{what}, about {seconds:.0f} s (Ctrl-C ends it with what is known then)", err=True)


@contextmanager
def _progress(seconds: float, look: Callable[[], None]) -> Iterator[Callable[[float], None]]:
    """Whoever gets it tells of seconds that have passed. The bar is for eyes: on a terminal only."""
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=int(1000 * seconds), file=sys.stderr, hidden=hidden, show_pos=False) as bar:

        def tick(passed: float) -> None:
            look()
            bar.update(int(1000 * passed))

        yield tick
        bar.update(int(1000 * seconds))  # estimates are never quite right
