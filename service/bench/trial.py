"""One way to run the service, and what was found of it; several take turns."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from service.bench import load
from service.bench.combination import Combination
from service.bench.cores import Seats
from service.bench.failures import BenchFailed
from service.bench.figures import Figures, counted, name
from service.bench.generator import Generator, Seat
from service.bench.sample import Sample
from service.bench.tally import OK, Load
from service.bench.target import Target

SHARES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
FEWER_SHARES: Final = (0.3, 0.5, 0.7, 0.9)
"""Of the peak; the fewer where many settings take their turns."""
_PEAK_CONNECTIONS: Final = 32
_WARM_UP_SECONDS: Final = 0.5
# The share of the time from which on a closed loop's generator is itself the limit.
_BUSY: Final = 0.9

Tick = Callable[[float], None]
FindSample = Callable[[Target], Sample]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how hard: seconds at each rate, connections; requests a second, or else shares of the peak."""

    seconds: float
    connections: int
    rates: tuple[float, ...] = ()
    shares: tuple[float, ...] = SHARES
    rounds: int = 1

    @property
    def peak_connections(self) -> int:
        return min(self.connections, _PEAK_CONNECTIONS)

    def total(self, trials: int, start_seconds: float) -> float:
        """About how many seconds it all takes."""
        points = len(self.rates) or 1 + len(self.shares)
        return self.rounds * trials * (start_seconds + points * (_WARM_UP_SECONDS + self.seconds))


@dataclass
class Trial:
    """`open` makes the target ready. `failure` says why there are no figures, or not all."""

    label: str
    open: Callable[[], AbstractContextManager[Target]]
    seats: Seats
    combination: Combination | None = None
    failure: str = ""
    peaks: list[Load] = field(default_factory=list)
    loads: dict[float, list[Load]] = field(default_factory=dict)

    def run(self, pace: Pace, find_sample: FindSample, generator: Generator, tick: Tick) -> None:
        """One round. Raises BenchFailed."""
        with self.open() as target:
            requests = [find_sample(target).as_http(target)]
            seat = generator.on(self.seats.driving, tick)
            if not pace.rates:
                self.peaks.append(self._peak(seat, target, requests, pace))
            for rate in pace.rates or self._rates(pace.shares):
                found = seat.run(
                    load.open_loop,
                    target.endpoint,
                    requests,
                    rate,
                    pace.seconds,
                    pace.connections,
                    warm_up=_WARM_UP_SECONDS,
                    nap=self.seats.nap,
                )
                self.loads.setdefault(rate, []).append(found)

    def _peak(self, seat: Seat, target: Target, requests: Sequence[bytes], pace: Pace) -> Load:
        found = seat.run(
            load.closed, target.endpoint, requests, pace.peak_connections, pace.seconds, warm_up=_WARM_UP_SECONDS
        )
        if not found.requests:
            raise BenchFailed(
                f"model {target.name!r} takes longer than {pace.seconds:g} s to answer: take more --seconds"
            )
        if not found.served:
            errors = {name(status): count for status, count in found.statuses.items() if status != OK}
            raise BenchFailed(f"model {target.name!r} answers errors only under load: {counted(errors)}")
        return found

    def _rates(self, shares: Sequence[float]) -> list[float]:
        """In all rounds the same, those of the first, or they could not be compared."""
        first = self.peaks[0]
        return [share * first.served / first.seconds for share in shares]

    @property
    def peak(self) -> float | None:
        """Requests a second that were answered with 200; the median of the rounds."""
        return Figures.of(0, self.peaks).done if self.peaks else None

    @property
    def peak_errors(self) -> dict[str, int]:
        return dict(Figures.of(0, self.peaks).errors) if self.peaks else {}

    @property
    def is_generator_the_limit(self) -> bool:
        return any(peak.busy > _BUSY for peak in self.peaks)

    @property
    def figures(self) -> list[Figures]:
        return [Figures.of(rate, loads) for rate, loads in self.loads.items()]

    def best(self, goal: float | None) -> Figures | None:
        """The most requests a second under the goal, in seconds; without one, that were answered in step."""
        fine = [each for each in self.figures if (each.meets(goal) if goal else each.is_steady)]
        return max(fine, key=lambda each: each.asked, default=None)


def take_turns(trials: Sequence[Trial], pace: Pace, find_sample: FindSample, generator: Generator, tick: Tick) -> None:
    """A B C A B C ...: the machine's drift meets all alike. One that fails is left out from then on.

    Raises BenchFailed if the first of all fails: the others, which ask for more, would too.
    """
    for _ in range(pace.rounds):
        for trial in trials:
            if trial.failure:
                continue
            try:
                trial.run(pace, find_sample, generator, tick)
            except BenchFailed as error:
                if not any(each.loads or each.peaks for each in trials):
                    raise
                trial.failure = str(error)
