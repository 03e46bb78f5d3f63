"""NVIDIA's load generator, unchanged against the real service: see `.ci/clients`."""

import csv
import shlex
from collections import Counter
from pathlib import Path

import pytest

from tests.deploy.programs import output, program
from tests.process.conftest import ROOT, Service, StartService
from tests.process.snippets import snippet

# Short, and content with whatever it measures: nothing here is about how fast a test machine is.
CONTENT = ("--measurement-interval", "100", "--stability-percentage", "999")
JSON = ("--input-tensor-format", "json", "--output-tensor-format", "json")
OF_THE_SERVER = ["Server Queue", "Server Compute Input", "Server Compute Infer", "Server Compute Output"]


def measure(service: Service, folder: Path, *arguments: str) -> list[dict[str, str]]:
    """Its report, a row for each level of load."""
    report = folder / "report.csv"
    where = ("-u", service.api, "-i", "http", "-f", str(report))
    printed = output(program("perf_analyzer"), *where, *CONTENT, *arguments, folder=folder)
    assert report.exists(), printed
    with report.open(newline="") as lines:
        return sorted(csv.DictReader(lines), key=lambda row: int(row["Concurrency"]))


def counts(service: Service, model: str) -> Counter[str]:
    """What has become of a model's requests so far."""
    [told] = service.get(f"/v2/models/{model}/stats").json()["model_stats"]
    ended = {outcome: told["inference_stats"][outcome]["count"] for outcome in ("success", "fail")}
    return Counter(ended | {"rows": told["inference_count"], "runs": told["execution_count"]})


@pytest.mark.parametrize("form", [(), JSON], ids=["binary", "json"])
@pytest.mark.parametrize(
    ("model", "rows", "options"),
    [
        ("double", 1, ["--shared-memory", "none"]),
        ("double", 8, ["-x", "1", "--async"]),
        ("add_sub", 2, []),
        ("identity_bytes", 1, ["--shape", "x:3", "--string-length", "16"]),
        ("identity_int64", 1, ["--shape", "x:3"]),
    ],
)
def test_it_measures_every_level_and_what_the_service_says(
    service: Service, tmp_path: Path, form: tuple[str, ...], model: str, rows: int, options: list[str]
) -> None:
    before = counts(service, model)
    levels = measure(service, tmp_path, "-m", model, "-b", str(rows), "--concurrency-range", "1:5:4", *form, *options)
    assert [row["Concurrency"] for row in levels] == ["1", "5"]
    assert min(float(row["Inferences/Second"]) for row in levels) > 0
    assert [name for name in OF_THE_SERVER if name not in levels[0]] == []

    def moved() -> Counter[str]:
        return counts(service, model) - before

    # A request is counted when its answer has gone out, a little later than its run.
    service.wait_until(lambda: moved()["rows"] == rows * moved()["success"], "counted")
    assert 0 < moved()["runs"] <= moved()["success"]
    assert moved()["fail"] == 0


def test_the_guide_is_true(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(ROOT / "models")
    dollar, name, *arguments = shlex.split(snippet("perf_analyzer", service.api))
    assert (dollar, name) == ("$", "perf_analyzer")
    printed = output(program(name), *arguments, *CONTENT, folder=tmp_path)
    levels = [line for line in printed.splitlines() if line.startswith("Request concurrency: ")]
    assert levels == ["Request concurrency: 1", "Request concurrency: 5"]
    assert printed.count("Server: ") == len(levels), printed
