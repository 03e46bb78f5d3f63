"""What is known of one request: filled on its way, turned into one log line and its metrics at its end."""

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

import structlog

from service.errors import DeadlineExceeded, Draining, Overloaded
from service.telemetry import metrics
from service.telemetry.trace import Trace

log = structlog.get_logger()

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Answered with 5xx, and yet nothing is wrong: these say all that there is to say.
_EXPECTED: Final = (Overloaded, DeadlineExceeded, Draining)
# nginx's number for a client that left before the answer; never sent, only recorded.
CLIENT_LEFT: Final = 499
# A sentence repeats what was sent; the log need not have all of it.
_MAX_REASON: Final = 1000


@dataclass(slots=True, eq=False)
class Record:
    """One request. Times are seconds; `rows` and the model are set for inference requests only.

    `left` is the stage in which the caller left, `fallback_for` the model that was asked for, where a smaller one ran.
    `client` is the name that the file of keys gives whoever calls. `answers` are those of a stream, which has counted
    them with its model by itself, and `failed` how many of them say why there is none.
    """

    request_id: str
    trace: Trace | None
    method: str
    started: float = field(default_factory=perf_counter)
    route: str = "unmatched"
    status: int = CLIENT_LEFT
    client: str = ""
    code: str = ""
    error: BaseException | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    model: str = ""
    version: int = 0
    rows: int | None = None
    decode: float | None = None
    queue: float | None = None
    run: float | None = None
    encode: float | None = None
    left: str = ""
    fallback_for: str = ""
    answers: int | None = None
    failed: int = 0

    @property
    def has_started(self) -> bool:
        """True once the head of an answer has been sent."""
        return self.status != CLIENT_LEFT

    def close(self) -> None:
        """The answer has ended: count it and log it."""
        duration = perf_counter() - self.started
        method = self.method if self.method in _METHODS else "OTHER"
        metrics.http_requests(self.route, method, self.status).inc()
        if self.status >= 400:
            self._count_failure(duration)
        elif self.answers is None:  # a stream takes as long as its caller sends, which is not slow
            metrics.ok_duration(self.route).observe(duration)
        if self.left:
            metrics.cancelled(self.left).inc()
        if self.model and self.answers is None:
            self._count_inference(duration)
        self._log(duration)
        # Its traceback holds the frames of the request, and those hold this record and all that came: a cycle, which
        # would keep bodies until the collector comes by.
        self.error = None

    def _count_failure(self, duration: float) -> None:
        metrics.other_duration(self.route).observe(duration)
        if isinstance(self.error, Overloaded):
            metrics.refused(self.error.reason).inc()

    def _count_inference(self, duration: float) -> None:
        outcome = self.code or ("ok" if self.status < 400 else "client_left")
        metrics.inference_requests(self.model, self.version, outcome).inc()
        answered, others = metrics.inference_seconds(self.model, self.version)
        (answered if outcome == "ok" else others).inc(duration)
        times = (self.decode, self.queue, self.run, self.encode)
        for histogram, seconds in zip(metrics.stages(self.model, self.version), times, strict=True):
            if seconds is not None:
                histogram.observe(seconds)

    def _log(self, duration: float) -> None:
        fields: dict[str, Any] = {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "request_id": self.request_id,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "duration_ms": _ms(duration),
        }
        if self.client:
            fields["client"] = self.client
        if self.trace:
            fields["trace_id"] = self.trace.trace_id
            fields["span_id"] = self.trace.span_id
        if self.model:
            self._add_inference(fields)
        if self.code:
            fields |= {"code": self.code, "reason": str(self.error)[:_MAX_REASON]}
        if self.left:
            fields["left"] = self.left
        if self.status < 500:
            log.info("request", **fields)
        elif isinstance(self.error, _EXPECTED):
            log.warning("request", **fields)
        else:
            log.error("request", **fields, exc_info=self.error)

    def _add_inference(self, fields: dict[str, Any]) -> None:
        fields["model"] = self.model
        fields["version"] = self.version
        if self.fallback_for:
            fields["fallback_for"] = self.fallback_for
        if self.rows is not None:
            fields["rows"] = self.rows
        if self.answers is not None:
            fields |= {"answers": self.answers, "failed": self.failed}
        if self.decode is not None:
            fields["decode_ms"] = _ms(self.decode)
        if self.queue is not None and self.run is not None:
            fields["queue_ms"] = _ms(self.queue)
            fields["run_ms"] = _ms(self.run)
        if self.encode is not None:
            fields["encode_ms"] = _ms(self.encode)


def _ms(seconds: float) -> float:
    return int(seconds * 1e6) / 1000  # `round` costs three times as much, five times a request
