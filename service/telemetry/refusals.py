"""Requests that were refused as overloaded before they were looked at: accounted for together, ten times a second.

Refusing must cost little, and a log line and five counters for each cost more than all the rest of it. The more so
beside long runs, which leave the processor's caches cold: there a few hundred refusals a second come one by one.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from service.errors import Overloaded
from service.telemetry import metrics

log = structlog.get_logger()

# For how many seconds they are gathered.
_GATHERED: Final = 0.1
# In one line: those who collect logs cut or refuse lines above 16 KiB, and an id may have 128 characters.
_MOST_IDS: Final = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """What refusals have in common that go into one line.

    `reason` is the metric's; `sentence` is what the first of them was told, with how long it would have waited.
    """

    route: str
    model: str
    version: int
    status: int
    reason: str
    sentence: str = field(compare=False)


class Refusals:
    """Gathers the ids of requests that were refused. Who ends them accounts for the last."""

    def __init__(self) -> None:
        self._ids: dict[Kind, list[str]] = {}

    def note(self, kind: Kind, request_id: str) -> None:
        ids = self._ids.get(kind)
        if ids is None:
            if not self._ids:
                asyncio.get_running_loop().call_later(_GATHERED, self.account)
            ids = self._ids[kind] = []
        ids.append(request_id)

    def account(self) -> None:
        """For all that were gathered, now."""
        gathered, self._ids = self._ids, {}
        for kind, ids in gathered.items():
            _account(kind, ids)


def _account(kind: Kind, ids: list[str]) -> None:
    count = len(ids)
    metrics.http_requests(kind.route, "POST", kind.status).inc(count)
    metrics.other_duration(kind.route).observe(0.0, count)
    metrics.inference_requests(kind.model, kind.version, Overloaded.code).inc(count)
    metrics.refused(kind.reason).inc(count)
    for start in range(0, count, _MOST_IDS):
        named = ids[start : start + _MOST_IDS]
        log.warning(
            "refused",
            route=kind.route,
            model=kind.model,
            version=kind.version,
            status=kind.status,
            code=Overloaded.code,
            reason=kind.sentence,
            requests=len(named),
            request_ids=named,
        )
