"""Series that begin at 0: one that began at a thousand would have no rate, and nobody would see the first errors.

Only what alerts are made of; anything else may begin when it happens. Asking for a label set is what makes its series.
"""

from collections.abc import Iterable
from typing import Final

from service.errors import DeadlineExceeded, InferenceFailed, InternalError, Interrupted, Overloaded, TransformFailed
from service.telemetry import metrics

# A caller's mistakes are not among them: they are many, and nobody is woken up by them.
_OUTCOMES: Final = (
    "ok",
    *(
        error.code
        for error in (InferenceFailed, TransformFailed, InternalError, Interrupted, DeadlineExceeded, Overloaded)
    ),
)

# Those of `Overloaded`, and of `ClientLeft`.
REASONS: Final = ("wait", "deadline", "waiting", "rows", "bytes", "connections")
STAGES: Final = ("body", "queue", "run")


def of_requests(routes: Iterable[str], streams: Iterable[str], statuses: Iterable[int]) -> None:
    """How inference requests may end, whatever model they are for. Those of `streams` have no duration."""
    routes, statuses = tuple(routes), tuple(statuses)
    for route in routes:
        metrics.ok_duration(route)
    for route in (*routes, *streams):
        for status in statuses:
            metrics.http_requests(route, "POST", status)
    for reason in REASONS:
        metrics.refused(reason)
    for stage in STAGES:
        metrics.cancelled(stage)


def of_model(model: str, version: int) -> None:
    """How inferences of one version may end, and that none has begun."""
    metrics.pending(model)
    for outcome in _OUTCOMES:
        metrics.inference_requests(model, version, outcome)
