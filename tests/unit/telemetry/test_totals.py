"""What was counted of a version, as numbers."""

from pathlib import Path

from service.telemetry import metrics
from service.telemetry.totals import Totals


def test_the_numbers_are_those_of_a_model_and_a_version() -> None:
    metrics.stages("puma", 3)[2].observe(0.5, times=4)
    metrics.stages("puma", 4)[2].observe(1)
    metrics.inference_requests("puma", 3, "ok").inc(7)
    metrics.BATCHES.labels("puma", 3, 2).inc(9)
    metrics.pending("puma").inc()
    totals = Totals().read()
    third, fourth = totals["puma", "3"], totals["puma", "4"]
    assert {name: number for name, number in third.items() if "run_seconds_bucket" not in name[0] and number} == {
        ("inference_requests_total", "ok"): 7,
        ("inference_batches_total", "2"): 9,
        ("inference_run_seconds_count", ""): 4,
        ("inference_run_seconds_sum", ""): 2,
    }
    assert third["inference_run_seconds_bucket", "0.5"] == 4
    assert fourth["inference_run_seconds_sum", ""] == 1


def test_with_several_processes_the_files_are_read_and_not_this_process(tmp_path: Path) -> None:
    metrics.stages("puma", 3)[2].observe(1)
    assert Totals(tmp_path).read() == {}
