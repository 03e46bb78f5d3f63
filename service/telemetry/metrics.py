"""Every metric and nothing else.

Units are base units. Label values come from the catalogue, from a route template or from a closed set, never from a
request's own text; those of a version are shown until the reload after the one that took it away. So the number of
series is bounded.

In Gunicorn each process writes files of its own, named by what the process is (`master`, `ops`, a worker's slot), and
whoever is scraped adds them up; `telemetry/identity.py` must be set up before this module is imported for that.
"""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from time import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from service.telemetry import identity

# A second series beside each counter and histogram that only says when it began, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

PREFIX: Final = "onnicorn"
REGISTRY: Final = CollectorRegistry()
# Never scraped: with them a version could have twice as many series, and nobody watches them.
STATISTICS: Final = CollectorRegistry()

_DURATIONS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
_MODEL: Final = ("model", "version")
# No batch of several requests is larger, by default; a single request may be as large as it likes.
_EXACT_ROWS: Final = 32


def _histogram(name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=REGISTRY)


def _counter(name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry = REGISTRY) -> Counter:
    return Counter(f"{PREFIX}_{name}", text, labels, registry=registry)


HTTP_REQUESTS: Final = _counter(
    "http_requests", "Requests answered on the API port; route is the template.", ("route", "method", "status")
)
HTTP_DURATION: Final = _histogram(
    "http_request_duration_seconds",
    "From a request's headers to the end of its answer, streams aside; outcome is ok (a status below 400) or other.",
    ("route", "outcome"),
    _DURATIONS,
)
INFERENCE_REQUESTS: Final = _counter(
    "inference_requests", "Inference requests of known models; outcome is ok or the error's code.", (*_MODEL, "outcome")
)
DECODE: Final = _histogram("inference_decode_seconds", "Bytes of the body to tensors.", _MODEL, _DURATIONS)
QUEUE: Final = _histogram("inference_queue_seconds", "Waiting for a run thread.", _MODEL, _DURATIONS)
RUN: Final = _histogram("inference_run_seconds", "Inside the model.", _MODEL, _DURATIONS)
ENCODE: Final = _histogram("inference_encode_seconds", "Tensors to bytes of the answer.", _MODEL, _DURATIONS)
BATCH_ROWS: Final = _histogram("inference_batch_rows", "Rows that ran together.", _MODEL, _ROWS)
PENDING: Final = Gauge(
    f"{PREFIX}_inference_pending",
    "Inference requests that wait or run.",
    ("model",),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
REFUSED: Final = _counter(
    "refused",
    "Requests for a model that were refused as overloaded; reason is wait or deadline (it would have waited too long), "
    "waiting, rows or bytes (too much waits already), or connections.",
    ("reason",),
)
CANCELLED: Final = _counter(
    "cancelled", "Requests whose client left before the answer; stage is body, queue or run.", ("stage",)
)
LOOP_LAG: Final = _histogram(
    "event_loop_lag_seconds", "How late a worker's event loop was, looked at five times a second.", (), _LAGS
)
RELOADS: Final = _counter("reloads", "Reloads that ended; outcome is committed, refused or aborted.", ("outcome",))
WORKER_EXITS: Final = _counter(
    "worker_exits",
    "Workers that ended: in order (stopped, recycled), by a signal (killed, aborted, crashed), before they were ready "
    "(load_timeout, boot_failed), because a run did not end (stuck), or by another exit code (failed).",
    ("reason",),
)

# What only `.../stats` tells.
INFERENCE_SECONDS: Final = _counter(
    "inference_request_seconds",
    "From a request's headers to the end of its answer, all inference requests together; outcome is ok or other.",
    (*_MODEL, "outcome"),
    STATISTICS,
)
BATCHES: Final = _counter(
    "inference_batches",
    f"Runs by their rows, exactly up to {_EXACT_ROWS}, and as the next power of two above.",
    (*_MODEL, "rows"),
    STATISTICS,
)
BATCH_SECONDS: Final = _counter(
    "inference_batch_seconds", "Inside the model, all runs of so many rows together.", (*_MODEL, "rows"), STATISTICS
)
LAST_RUN: Final = Gauge(
    f"{PREFIX}_inference_last_run_seconds",
    "When the last run ended, in seconds since 1970.",
    _MODEL,
    registry=STATISTICS,
    multiprocess_mode="max",
)

_OF_VERSIONS: Final = (
    *(INFERENCE_REQUESTS, DECODE, QUEUE, RUN, ENCODE, BATCH_ROWS),
    *(INFERENCE_SECONDS, BATCHES, BATCH_SECONDS, LAST_RUN),
)

# What the collector in `telemetry/scrape.py` reads at each scrape from the board, the manifest, /proc and the cgroup.
READ_AT_SCRAPE: Final = {
    f"{PREFIX}_start_time_seconds": (
        "gauge",
        "When the service began, in seconds since 1970; a reload is no beginning.",
        (),
    ),
    f"{PREFIX}_workers": ("gauge", "Workers by state.", ("state",)),
    f"{PREFIX}_worker_cpu_seconds": (
        "gauge",
        "CPU time of the process that holds the worker's slot now; a successor begins at 0.",
        ("worker",),
    ),
    f"{PREFIX}_worker_resident_bytes": ("gauge", "Memory of the worker, prepared models included.", ("worker",)),
    f"{PREFIX}_worker_private_bytes": ("gauge", "Memory of the worker that is no mapped file.", ("worker",)),
    f"{PREFIX}_worker_open_files": ("gauge", "Open files and connections of the worker.", ("worker",)),
    f"{PREFIX}_model_info": ("gauge", "1 for each version that is served.", (*_MODEL, "digest")),
    f"{PREFIX}_repository_faults": (
        "gauge",
        "Models and versions that the repository holds and that a start or a reload has refused, until one takes them.",
        (),
    ),
    f"{PREFIX}_build_info": (
        "gauge",
        "1; the versions that this service is made of.",
        ("version", "onnxruntime", "python"),
    ),
    f"{PREFIX}_cpu_throttled_seconds": ("counter", "How long the cgroup's CPU quota has held the container back.", ()),
    f"{PREFIX}_memory_bytes": (
        "gauge",
        "The container's memory: used, working_set (what the kernel cannot simply drop), and limit, if there is one.",
        ("kind",),
    ),
}


class Observed:
    """One label set of a histogram. prometheus_client's own `observe` looks at the buckets one by one."""

    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(self, histogram: Histogram, *labels: object) -> None:
        child = histogram.labels(*labels)
        self._bounds = child._upper_bounds
        self._buckets = child._buckets
        self._sum = child._sum

    def observe(self, amount: float, times: int = 1) -> None:
        self._sum.inc(amount * times)
        self._buckets[bisect_left(self._bounds, amount)].inc(times)


# Looking a label set up costs more than counting it; the label sets are few.
http_requests = cache(HTTP_REQUESTS.labels)
inference_requests = cache(INFERENCE_REQUESTS.labels)
pending = cache(PENDING.labels)
refused = cache(REFUSED.labels)
cancelled = cache(CANCELLED.labels)


@cache
def ok_duration(route: str) -> Observed:
    return Observed(HTTP_DURATION, route, "ok")


@cache
def other_duration(route: str) -> Observed:
    return Observed(HTTP_DURATION, route, "other")


@cache
def inference_seconds(model: str, version: int) -> tuple[Counter, Counter]:
    """One version's: of answers, and of everything else."""
    return INFERENCE_SECONDS.labels(model, version, "ok"), INFERENCE_SECONDS.labels(model, version, "other")


@cache
def batches(model: str, version: int, size: int) -> tuple[Observed, Gauge, Counter, Counter]:
    """One version's histogram of rows, and when it has run last; of runs of this size the number and the seconds."""
    labels = (model, version)
    of_size = (BATCHES.labels(*labels, size), BATCH_SECONDS.labels(*labels, size))
    return Observed(BATCH_ROWS, *labels), LAST_RUN.labels(*labels), *of_size


@cache
def stages(model: str, version: int) -> tuple[Observed, ...]:
    """One version's histograms of decode, queue, run and encode seconds."""
    return tuple(Observed(histogram, model, version) for histogram in (DECODE, QUEUE, RUN, ENCODE))


def forget(is_gone: Callable[[identity.Labels], bool]) -> None:
    """Have no more what versions with such labels were counted in; a late request's begins anew."""
    for metric in _OF_VERSIONS:
        for values in list(metric._metrics):
            if is_gone(dict(zip(_MODEL, values, strict=False))):
                metric.remove(*values)
    for looked_up in (inference_requests, inference_seconds, batches, stages):
        looked_up.cache_clear()


class ModelObserver:
    """Turns what the dataplane reports into metrics."""

    def pending(self, model: str, change: int) -> None:
        pending(model).inc(change)

    def batch(self, model: str, version: int, rows: int, seconds: float) -> None:
        size = rows if rows <= _EXACT_ROWS else 1 << (rows - 1).bit_length()
        histogram, last, number, total = batches(model, version, size)
        histogram.observe(rows)
        last.set(time())
        number.inc()
        total.inc(seconds)
