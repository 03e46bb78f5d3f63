"""What the dashboard shows, row by row: titles, units and queries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# What every query is narrowed to: an installation, its instances, and what those that know models are as well.
SERVICE: Final = 'namespace=~"$namespace", job=~"$job"'
ALL: Final = f'{SERVICE}, instance=~"$instance"'
ONE: Final = f'{ALL}, model=~"$model"'
INFER: Final = f'{ALL}, route=~".+(/infer|:predict|/embeddings)"'
ANSWERED: Final = f'{INFER}, outcome="ok"'
RATE: Final = "[$__rate_interval]"
_NAME: Final = "{{model}} {{version}}"
STAGES: Final = ("decode", "queue", "run", "encode")


@dataclass(frozen=True)
class Panel:
    """`queries` are by legend. A `kind` of `stat` shows the last value, `table` the labels as well."""

    title: str
    unit: str
    queries: Mapping[str, str]
    text: str = ""
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False


def quantile(q: float, metric: str, labels: str, by: str = "") -> str:
    """Of a histogram, over all that is not named in `by`."""
    return f"histogram_quantile({q}, sum by ({by}le) (rate(onnicorn_{metric}_bucket{{{labels}}}{RATE})))"


def rate(by: str, metric: str, labels: str) -> str:
    return f"sum by ({by}) (rate(onnicorn_{metric}{{{labels}}}{RATE}))"


def mean(metric: str, labels: str, by: str = "model, version") -> str:
    return f"{rate(by, f'{metric}_sum', labels)} / {rate(by, f'{metric}_count', labels)}"


def _inferences(outcomes: str) -> str:
    return rate("model, version", "inference_requests_total", f'{ONE}, outcome=~"{outcomes}"')


def _burn(kind: str, allowed: str) -> dict[str, str]:
    windows = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    return {window: f"job:onnicorn_infer_{kind}:ratio{window}{{{SERVICE}}} / {allowed}" for window in windows}


_FAULTS: Final = "inference_failed|transform_failed|internal_error|interrupted|deadline_exceeded|overloaded"

ROWS: Final[Mapping[str, tuple[Panel, ...]]] = {
    "Objectives": (
        Panel(
            "Without an error",
            "percentunit",
            {"1 h": f"min(1 - job:onnicorn_infer_errors:ratio1h{{{SERVICE}}})"},
            "The share of requests to models; the objective is 99.9 %.",
            kind="stat",
            width=6,
        ),
        Panel(
            "Within half a second",
            "percentunit",
            {"1 h": f"min(1 - job:onnicorn_infer_slow:ratio1h{{{SERVICE}}})"},
            "The share of answers; the objective is 99 %.",
            kind="stat",
            width=6,
        ),
        Panel(
            "Ready workers", "short", {"ready": f'sum(onnicorn_workers{{{ALL}, state="READY"}})'}, kind="stat", width=6
        ),
        Panel("Instances", "short", {"instances": f"count(onnicorn_build_info{{{ALL}}})"}, kind="stat", width=6),
        Panel(
            "How fast the errors allowed are spent",
            "short",
            _burn("errors", "0.001"),
            "At 1 they last for 30 days. Alerts: 14.4 over 1 h, 6 over 6 h, 3 over 1 d, 1 over 3 d.",
            width=12,
        ),
        Panel("How fast the slow answers allowed are spent", "short", _burn("slow", "0.01"), width=12),
    ),
    "Traffic": (
        Panel("Requests to models, by status", "reqps", {"{{status}}": rate("status", "http_requests_total", INFER)}),
        Panel("Inferences, by model", "reqps", {_NAME: rate("model, version", "inference_requests_total", ONE)}),
        Panel(
            "All requests, by route",
            "reqps",
            {"{{method}} {{route}}": rate("method, route", "http_requests_total", ALL)},
        ),
    ),
    "Errors": (
        Panel(
            "Inferences without a result, by code",
            "reqps",
            {"{{outcome}}": rate("outcome", "inference_requests_total", f'{ONE}, outcome!="ok"')},
            "The codes are the README's; client_left are those who did not wait.",
            width=12,
        ),
        Panel(
            "Share of inferences that fail, by model",
            "percentunit",
            {_NAME: f"{_inferences(_FAULTS)} / {_inferences(f'ok|{_FAULTS}')}"},
            "Of those that are no mistake of their callers.",
            width=12,
        ),
        Panel(
            "Other answers than 2xx, by route",
            "reqps",
            {
                "{{status}} {{method}} {{route}}": rate(
                    "status, method, route", "http_requests_total", f'{ALL}, status!~"2.."'
                )
            },
            width=12,
        ),
        Panel(
            "Errors, by instance",
            "reqps",
            {"{{instance}}": rate("instance", "http_requests_total", f'{INFER}, status=~"429|5.."')},
            "One alone is its machine's trouble, or gets more than its part.",
            width=12,
        ),
    ),
    "Latency": (
        Panel(
            "Requests to models",
            "s",
            {f"p{100 * q:g}": quantile(q, "http_request_duration_seconds", ANSWERED) for q in (0.5, 0.9, 0.99)},
            "From the head to the end of the answer. Refusals, errors and clients that left are left out.",
            width=12,
        ),
        Panel(
            "99th percentile, by instance",
            "s",
            {"{{instance}}": quantile(0.99, "http_request_duration_seconds", ANSWERED, "instance, ")},
            width=12,
        ),
        Panel(
            "Mean time of each stage",
            "s",
            {f"{stage} {_NAME}": mean(f"inference_{stage}_seconds", ONE) for stage in STAGES},
            width=12,
        ),
        Panel(
            "99th percentile of each stage",
            "s",
            {
                f"{stage} {_NAME}": quantile(0.99, f"inference_{stage}_seconds", ONE, "model, version, ")
                for stage in STAGES
            },
            width=12,
        ),
    ),
    "Batching": (
        Panel("Rows that run together, mean", "short", {_NAME: mean("inference_batch_rows", ONE)}),
        Panel(
            "Rows that run together, 90th percentile",
            "short",
            {_NAME: quantile(0.9, "inference_batch_rows", ONE, "model, version, ")},
        ),
        Panel(
            "Rows and runs a second",
            "short",
            {
                f"rows {_NAME}": rate("model, version", "inference_batch_rows_sum", ONE),
                f"runs {_NAME}": rate("model, version", "inference_batch_rows_count", ONE),
            },
        ),
    ),
    "Queue": (
        Panel(
            "Requests that wait or run, by model",
            "short",
            {"{{model}}": f"sum by (model) (onnicorn_inference_pending{{{ONE}}})"},
        ),
        Panel(
            "Requests that wait or run, for each ready worker",
            "short",
            {"{{instance}}": f"instance:onnicorn_pending:per_worker{{{ALL}}}"},
            "What to scale on.",
        ),
        Panel(
            "Wait for a run",
            "s",
            {
                f"p{100 * q:g} {{{{model}}}}": quantile(q, "inference_queue_seconds", ONE, "model, ")
                for q in (0.5, 0.95, 0.99)
            },
        ),
    ),
    "Refusals": (
        Panel(
            "Refused as overloaded, by reason",
            "reqps",
            {"{{reason}}": rate("reason", "refused_total", ALL)},
            "Nothing was run for them.",
        ),
        Panel(
            "Refused, by instance",
            "reqps",
            {"{{instance}}": rate("instance", "refused_total", ALL)},
            "One that refuses alone gets more than its part.",
        ),
        Panel("Clients that left, by stage", "reqps", {"{{stage}}": rate("stage", "cancelled_total", ALL)}),
    ),
    "Workers": (
        Panel("Workers, by state", "short", {"{{state}}": f"sum by (state) (onnicorn_workers{{{ALL}}})"}, stacked=True),
        Panel(
            "Workers that ended, by reason",
            "short",
            {"{{reason}}": f"sum by (reason) (increase(onnicorn_worker_exits_total{{{ALL}}}{RATE}))"},
            "Only stopped and recycled are in order.",
        ),
        Panel(
            "How late event loops are",
            "s",
            {"p99 {{instance}}": quantile(0.99, "event_loop_lag_seconds", ALL, "instance, ")},
        ),
        Panel(
            "CPUs in use, by worker",
            "short",
            {"{{instance}} {{worker}}": f"rate(onnicorn_worker_cpu_seconds{{{ALL}}}{RATE})"},
        ),
        Panel(
            "Open files and connections",
            "short",
            {"{{instance}} {{worker}}": f"onnicorn_worker_open_files{{{ALL}}}"},
        ),
        Panel(
            "Time since the start",
            "s",
            {"{{instance}}": f"time() - onnicorn_start_time_seconds{{{ALL}}}"},
            "What falls to nothing has restarted, with all its workers and its counters.",
        ),
    ),
    "Memory and CPU limit": (
        Panel(
            "Container",
            "bytes",
            {"{{kind}} {{instance}}": f"onnicorn_memory_bytes{{{ALL}}}"},
            "used is with the page cache, working_set without what the kernel can drop.",
        ),
        Panel(
            "Share of the limit",
            "percentunit",
            {
                "{{instance}}": f'onnicorn_memory_bytes{{{ALL}, kind="working_set"}} '
                f'/ ignoring (kind) onnicorn_memory_bytes{{{ALL}, kind="limit"}}'
            },
            "Workers are replaced from lifecycle.recycle_at_memory on, 0.9. Empty without a limit.",
        ),
        Panel(
            "Throttled seconds a second",
            "short",
            {"{{instance}}": f"rate(onnicorn_cpu_throttled_seconds_total{{{ALL}}}{RATE})"},
            "How long the CPU limit stops threads, summed over CPUs.",
        ),
        Panel(
            "Resident, by worker",
            "bytes",
            {"{{instance}} {{worker}}": f"onnicorn_worker_resident_bytes{{{ALL}}}"},
            width=12,
        ),
        Panel(
            "Private, by worker",
            "bytes",
            {"{{instance}} {{worker}}": f"onnicorn_worker_private_bytes{{{ALL}}}"},
            "Without the prepared models, which all workers map.",
            width=12,
        ),
    ),
    "Models": (
        Panel(
            "Instances that serve it",
            "short",
            {"{{model}} {{version}} {{digest}}": f"count by (model, version, digest) (onnicorn_model_info{{{ONE}}})"},
            kind="table",
        ),
        Panel(
            "Reloads, by outcome",
            "short",
            {"{{outcome}}": f"sum by (outcome) (increase(onnicorn_reloads_total{{{ALL}}}{RATE}))"},
        ),
        Panel(
            "What instances are made of",
            "short",
            {"{{version}}": f"count by (version, onnxruntime, python) (onnicorn_build_info{{{ALL}}})"},
            kind="table",
        ),
    ),
}
