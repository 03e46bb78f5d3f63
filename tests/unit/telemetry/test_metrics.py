"""Every metric: its name, kind, labels and words."""

from time import time

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from service.telemetry import metrics

MODEL = ("model", "version")
DECLARED = {
    "onnicorn_http_requests": (Counter, ("route", "method", "status")),
    "onnicorn_http_request_duration_seconds": (Histogram, ("route", "outcome")),
    "onnicorn_inference_requests": (Counter, (*MODEL, "outcome")),
    "onnicorn_inference_decode_seconds": (Histogram, MODEL),
    "onnicorn_inference_queue_seconds": (Histogram, MODEL),
    "onnicorn_inference_run_seconds": (Histogram, MODEL),
    "onnicorn_inference_encode_seconds": (Histogram, MODEL),
    "onnicorn_inference_request_seconds": (Counter, (*MODEL, "outcome")),
    "onnicorn_inference_batch_rows": (Histogram, MODEL),
    "onnicorn_inference_batch_seconds": (Counter, (*MODEL, "rows")),
    "onnicorn_inference_batches": (Counter, (*MODEL, "rows")),
    "onnicorn_inference_last_run_seconds": (Gauge, MODEL),
    "onnicorn_inference_pending": (Gauge, ("model",)),
    "onnicorn_event_loop_lag_seconds": (Histogram, ()),
    "onnicorn_refused": (Counter, ("reason",)),
    "onnicorn_cancelled": (Counter, ("stage",)),
    "onnicorn_reloads": (Counter, ("outcome",)),
    "onnicorn_worker_exits": (Counter, ("reason",)),
}
READ = {
    "onnicorn_start_time_seconds": ("gauge", ()),
    "onnicorn_workers": ("gauge", ("state",)),
    "onnicorn_worker_cpu_seconds": ("gauge", ("worker",)),
    "onnicorn_worker_resident_bytes": ("gauge", ("worker",)),
    "onnicorn_worker_private_bytes": ("gauge", ("worker",)),
    "onnicorn_worker_open_files": ("gauge", ("worker",)),
    "onnicorn_model_info": ("gauge", (*MODEL, "digest")),
    "onnicorn_repository_faults": ("gauge", ()),
    "onnicorn_build_info": ("gauge", ("version", "onnxruntime", "python")),
    "onnicorn_cpu_throttled_seconds": ("counter", ()),
    "onnicorn_memory_bytes": ("gauge", ("kind",)),
}
OBJECTS = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]


def test_the_metrics_are_known() -> None:
    assert {each._name: (type(each), each._labelnames) for each in OBJECTS} == DECLARED
    assert {name: (kind, labels) for name, (kind, _, labels) in metrics.READ_AT_SCRAPE.items()} == READ


def test_the_registries_have_all_of_them() -> None:
    families = [*metrics.REGISTRY.collect(), *metrics.STATISTICS.collect()]
    assert sorted(family.name for family in families) == sorted(DECLARED)
    assert [sample.name for family in families for sample in family.samples if sample.name.endswith("_created")] == []


@pytest.mark.parametrize(
    "words",
    [*(each._documentation for each in OBJECTS), *(words for _, words, _ in metrics.READ_AT_SCRAPE.values())],
)
def test_a_metric_is_described_in_a_sentence(words: str) -> None:
    assert words.endswith(".")


@pytest.mark.parametrize("histogram", [each for each in OBJECTS if isinstance(each, Histogram)])
def test_buckets_rise(histogram: Histogram) -> None:
    bounds = histogram._upper_bounds
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == float("inf")


def value(name: str, **labels: str) -> float:
    registries = (metrics.REGISTRY, metrics.STATISTICS)
    return sum(registry.get_sample_value(f"onnicorn_{name}", labels) or 0 for registry in registries)


def test_what_happens_to_a_models_requests_is_counted() -> None:
    observer = metrics.ModelObserver()
    observer.pending("cat", 1)
    observer.pending("cat", 1)
    observer.pending("cat", -1)
    for rows in (3, 8):
        observer.batch("cat", 2, rows, rows / 8)
    labels = {"model": "cat", "version": "2"}
    assert value("inference_pending", model="cat") == 1
    assert value("inference_batch_rows_count", **labels) == 2
    assert value("inference_batch_rows_sum", **labels) == 11
    assert value("inference_batch_rows_bucket", **labels, le="4.0") == 1
    assert [value("inference_batches_total", **labels, rows=rows) for rows in ("3", "8")] == [1, 1]
    assert [value("inference_batch_seconds_total", **labels, rows=rows) for rows in ("3", "8")] == [3 / 8, 1]
    assert 0 <= time() - value("inference_last_run_seconds", **labels) < 60


@pytest.mark.parametrize(
    ("rows", "label"),
    [(0, "0"), (1, "1"), (31, "31"), (32, "32"), (33, "64"), (64, "64"), (65, "128"), (2**20, "1048576")],
)
def test_runs_are_told_apart_by_their_rows_with_few_series(rows: int, label: str) -> None:
    """However many rows callers send at a time."""
    labels = {"model": "cat", "version": "3", "rows": label}
    before = value("inference_batches_total", **labels)
    metrics.ModelObserver().batch("cat", 3, rows, 0.5)
    assert value("inference_batches_total", **labels) == before + 1
