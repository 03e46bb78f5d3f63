"""What has become of a model's requests in Triton's form, from the numbers that were counted."""

from service.web.statistics import statistics
from tests.oip import Json


def duration(count: int = 0, ns: int = 0) -> Json:
    return {"count": count, "ns": ns}


NEVER = {
    "name": "cat",
    "version": "3",
    "last_inference": 0,
    "inference_count": 0,
    "execution_count": 0,
    "inference_stats": {
        name: duration()
        for name in (
            "success",
            "fail",
            "queue",
            "compute_input",
            "compute_infer",
            "compute_output",
            "cache_hit",
            "cache_miss",
        )
    },
    "response_stats": {},
    "batch_stats": [],
    "memory_usage": [],
}


def test_a_model_that_has_never_run_has_all_of_it() -> None:
    assert statistics("cat", "3", {}) == NEVER


def test_the_parts_are_those_of_the_metrics() -> None:
    """As they were read while requests went on ending: perf_analyzer ends where its stages' counts differ."""
    numbers = {
        ("inference_requests_total", "ok"): 5.0,
        ("inference_requests_total", "malformed_request"): 2.0,
        ("inference_requests_total", "overloaded"): 1.0,
        ("inference_request_seconds_total", "ok"): 1.5,
        ("inference_request_seconds_total", "other"): 0.25,
        **{
            (f"inference_{stage}_seconds_{part}", ""): number
            for stage, count, total in (("decode", 7, 0.5), ("queue", 5, 0.0), ("run", 6, 0.75), ("encode", 4, 2e-9))
            for part, number in (("count", count), ("sum", total))
        },
        ("inference_run_seconds_bucket", "0.1"): 4.0,
        ("inference_batch_rows_count", ""): 4.0,
        ("inference_batch_rows_sum", ""): 42.0,
        ("inference_batches_total", "16"): 1.0,
        ("inference_batches_total", "2"): 2.0,
        ("inference_batch_seconds_total", "16"): 0.5,
        ("inference_batch_seconds_total", "2"): 0.25,
        ("inference_last_run_seconds", ""): 1_700_000_000.1234,
    }
    assert statistics("cat", "3", numbers) == NEVER | {
        "last_inference": 1_700_000_000_123,
        "inference_count": 42,
        "execution_count": 4,
        "inference_stats": {
            "success": duration(5, 1_500_000_000),
            "fail": duration(3, 250_000_000),
            "queue": duration(5),
            "compute_input": duration(5, 500_000_000),
            "compute_infer": duration(5, 750_000_000),
            "compute_output": duration(5, 2),
            "cache_hit": duration(),
            "cache_miss": duration(),
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": duration(count),
                "compute_infer": duration(count, ns),
                "compute_output": duration(count),
            }
            for size, count, ns in ((2, 2, 250_000_000), (16, 1, 500_000_000))
        ],
    }
