"""What was seen, as a table, and whether it is what everybody hopes for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rehearsal.load import FIRST, Call


@dataclass(frozen=True, slots=True)
class Report:
    """`run` says how often each request was run, `seen` how often a copy was asked it; both by its id.

    `trouble` is what ended the rehearsal before its time, or went wrong at its end.
    """

    replaced: int
    seconds: float
    calls: Sequence[Call]
    run: Mapping[str, int]
    seen: Mapping[str, int]
    fired: Sequence[str]
    pending: Sequence[str]
    trouble: Sequence[str] = ()

    @property
    def failures(self) -> list[Call]:
        return [call for call in self.calls if call.outcome]

    @property
    def wrongly_run(self) -> list[str]:
        """Answered but not run, run more than once, or run though nobody has sent it."""
        unknown = self.run.keys() - {call.id for call in self.calls} - {FIRST}
        wrong = (
            call.id
            for call in self.calls
            if self.run.get(call.id, 0) > 1 or not (call.outcome or self.run.get(call.id))
        )
        return [*wrong, *sorted(unknown)]

    def is_good(self) -> bool:
        return bool(self.calls) and not (self.failures or self.wrongly_run or self.trouble)

    def __str__(self) -> str:
        again = sum(self.seen.get(call.id, 0) > 1 for call in self.calls)
        rows = [
            ("copies replaced", f"{self.replaced} in {self.seconds:.0f} s"),
            *((f"requests on a {kind}", f"{number:,}") for kind, number in self._kinds().items()),
            ("failures", f"{len(self.failures):,}"),
            ("run more than once, never, or unasked", f"{len(self.wrongly_run):,}"),
            ("refused by one copy, then run by another", f"{again:,}"),
            *((f"{name} (ms)", f"{1000 * seconds:.1f}") for name, seconds in self._latencies().items()),
            ("alerts that fired", ", ".join(self.fired) or "none"),
            ("alerts that waited to", ", ".join(self.pending) or "none"),
        ]
        width = max(len(name) for name, _ in rows)
        table = [f"{name:<{width}}  {value}" for name, value in rows]
        kinds = Counter(call.outcome for call in self.failures).most_common(10)
        return "\n".join([*table, *(f"  {number} x {outcome}" for outcome, number in kinds), *self.trouble])

    def _kinds(self) -> Counter[str]:
        return Counter(call.kind for call in self.calls)

    def _latencies(self) -> dict[str, float]:
        times = sorted(call.seconds for call in self.calls) or [0.0]
        return {"median": times[len(times) // 2], "p99": times[len(times) * 99 // 100], "slowest": times[-1]}
