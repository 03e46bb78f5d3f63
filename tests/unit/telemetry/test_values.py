"""Numbers in files: one by one, and as a client library's metrics.

Those are in processes of their own, for prometheus_client decides at its import where its numbers are.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client.values
import pytest
from prometheus_client import mmap_dict

from service.telemetry import identity
from service.telemetry.identity import FileValue, become, keep_metrics_in

PREAMBLE = """
import json, os, sys
from pathlib import Path
from service.telemetry import identity

directory = Path(sys.argv[1])
identity.keep_metrics_in(directory)

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

registry = CollectorRegistry()
counted = Counter("counted", "Things.", ["kind"], registry=registry)
level = Gauge("level", "Height.", ["kind"], registry=registry, multiprocess_mode="sum")
took = Histogram("took", "Time.", [], registry=registry, buckets=(1, 10))

def as_process(name, work):
    pid = os.fork()
    if not pid:
        identity.become(name)
        work()
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(pid, 0) == (pid, 0)

def tell(*values):
    print(json.dumps(values))

def summed(*names):
    everything = CollectorRegistry()
    MultiProcessCollector(everything, str(directory))
    samples = [sample for metric in everything.collect() for sample in metric.samples if sample.name in names]
    tell(*sorted([sample.name, *sample.labels.values(), sample.value] for sample in samples))

def files():
    tell(*sorted(file.name for file in directory.iterdir()))
"""


def played(tmp_path: Path, program: str) -> list[Any]:
    """What the program tells, one value for each time."""
    command = [sys.executable, "-c", PREAMBLE + program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """For values of this process; afterwards all is as it was before."""
    opened: list[mmap_dict.MmapedDict] = []

    class Remembered(mmap_dict.MmapedDict):
        def __init__(self, filename: str) -> None:
            super().__init__(filename)  # type: ignore[no-untyped-call]
            opened.append(self)

    monkeypatch.setattr(mmap_dict, "MmapedDict", Remembered)
    for name, value in (("_directory", tmp_path), ("_process", "worker-7"), ("_values", []), ("_files", {})):
        monkeypatch.setattr(identity, name, value)
    yield tmp_path
    for made in identity._values:
        made._cells.release()
    for file in opened:
        file.close()  # type: ignore[no-untyped-call]


def value(kind: str = "counter", mode: str = "", **labels: str) -> FileValue:
    return FileValue(kind, "things", "things_total", list(labels), list(labels.values()), "Things.", mode)


def stored(file: Path) -> list[tuple[float, float]]:
    """Every number of a file, and the time that it was set with."""
    found = mmap_dict.MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
    return [(number, time) for _, number, time, _ in found]


def test_a_value_is_in_the_file_as_soon_as_it_has_changed(directory: Path) -> None:
    number = value()
    file = directory / "counter_worker-7.db"
    assert (number.get(), stored(file)) == (0, [(0, 0)])
    number.inc(2)
    number.inc(0.5)
    assert (number.get(), stored(file)) == (2.5, [(2.5, 0)])
    number.set(7)
    assert (number.get(), stored(file)) == (7, [(7, 0)])
    number.set(8, 1234.5)
    assert (number.get(), stored(file)) == (8, [(8, 1234.5)])


@pytest.mark.parametrize(
    ("kind", "mode", "file"),
    [
        ("counter", "", "counter_worker-7.db"),
        ("histogram", "", "histogram_worker-7.db"),
        ("gauge", "sum", "gauge_sum_worker-7.db"),
        ("gauge", "max", "gauge_max_worker-7.db"),
    ],
)
def test_each_kind_of_value_has_a_file_of_its_own(directory: Path, kind: str, mode: str, file: str) -> None:
    value(kind, mode)
    assert [each.name for each in directory.iterdir()] == [file]


def test_the_same_name_and_labels_are_the_same_number(directory: Path) -> None:
    value(kind="cat").inc(3)
    value(kind="dog").inc(4)
    assert [value(kind=kind).get() for kind in ("cat", "dog", "owl")] == [3, 4, 0]


def test_who_becomes_another_counts_where_that_one_ended(directory: Path) -> None:
    number = value()
    number.inc(1)
    become("worker-8")
    number.inc(10)
    become("worker-7")
    assert number.get() == 1
    number.inc(1)
    become("worker-8")
    assert number.get() == 10
    assert {file.name: stored(file) for file in directory.iterdir()} == {
        "counter_worker-7.db": [(2, 0)],
        "counter_worker-8.db": [(10, 0)],
    }


def test_files_have_no_exemplars(directory: Path) -> None:
    number: Any = value()  # the library asks every kind of value for one
    number.set_exemplar({"trace_id": "7"})
    assert number.get_exemplar() is None


def test_values_that_are_made_from_now_on_are_kept_in_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_directory", None)
    monkeypatch.setattr(prometheus_client.values, "ValueClass", None)
    keep_metrics_in(tmp_path)
    assert identity._directory == tmp_path
    assert prometheus_client.values.ValueClass is FileValue


def test_a_count_survives_a_successor_of_the_same_name(tmp_path: Path) -> None:
    program = """
def work():
    counted.labels("cat").inc()
    counted.labels("cat").inc(2)
    tell(counted.labels("cat")._value.get())

for _ in range(3):
    as_process("worker-0", work)
files()
summed("counted_total")
"""
    assert played(tmp_path, program) == [
        [3.0],
        [6.0],
        [9.0],
        ["counter_worker-0.db", "histogram_master.db", "histogram_worker-0.db"],
        [["counted_total", "cat", 9.0]],
    ]


def test_processes_of_different_names_count_for_themselves(tmp_path: Path) -> None:
    program = """
counted.labels("cat").inc(100)
for name in ("worker-0", "worker-1", "ops"):
    as_process(name, lambda: (counted.labels("cat").inc(), tell(counted.labels("cat")._value.get())))
tell(counted.labels("cat")._value.get())
summed("counted_total")
"""
    assert played(tmp_path, program) == [[1.0], [1.0], [1.0], [100.0], [["counted_total", "cat", 103.0]]]


def test_every_set_of_labels_has_a_number_of_its_own(tmp_path: Path) -> None:
    program = """
for kind, amount in (("cat", 1), ("dog", 2), ('"zwölf"\\n', 4), ("cat", 8)):
    counted.labels(kind).inc(amount)
    level.labels(kind).set(amount)
    level.labels(kind).dec(0.5)
summed("counted_total", "level")
"""
    assert played(tmp_path, program) == [
        [
            ["counted_total", '"zwölf"\n', 4.0],
            ["counted_total", "cat", 9.0],
            ["counted_total", "dog", 2.0],
            ["level", '"zwölf"\n', 3.5],
            ["level", "cat", 7.5],
            ["level", "dog", 1.5],
        ]
    ]


def test_a_histogram_counts_in_files_as_well(tmp_path: Path) -> None:
    program = """
def work():
    for seconds in (0.5, 5, 50):
        took.observe(seconds)

as_process("worker-0", work)
as_process("worker-0", work)
took.observe(0.5)
summed("took_bucket", "took_count", "took_sum")
"""
    assert played(tmp_path, program) == [
        [
            ["took_bucket", "+Inf", 7.0],
            ["took_bucket", "1.0", 3.0],
            ["took_bucket", "10.0", 5.0],
            ["took_count", 7.0],
            ["took_sum", 111.5],
        ]
    ]


def test_numbers_that_were_made_before_the_fork_and_after_it_meet(tmp_path: Path) -> None:
    program = """
before = counted.labels("before")
before.inc(5)

def work():
    before.inc()
    counted.labels("after").inc(2)

as_process("worker-0", work)
as_process("worker-0", work)
before.inc(5)
summed("counted_total")
"""
    assert played(tmp_path, program) == [[["counted_total", "after", 4.0], ["counted_total", "before", 12.0]]]


@pytest.mark.parametrize("process", ["master", "worker-0"])
def test_more_numbers_than_the_first_file_holds_are_counted(tmp_path: Path, process: str) -> None:
    """A file begins with 64 KiB; each of these takes more than 1 KiB of it."""
    program = f"""
first = counted.labels("first")

def work():
    first.inc()
    for number in range(200):
        counted.labels(f"{{number:03}}" + "x" * 1000).inc(number)
    first.inc()
    counted.labels("last").inc(7)
    tell(first._value.get(), counted.labels("last")._value.get())

if {process!r} == "master":
    work()
else:
    as_process({process!r}, work)
    as_process({process!r}, lambda: first.inc())
everything = CollectorRegistry()
MultiProcessCollector(everything, str(directory))
[metric] = [metric for metric in everything.collect() if metric.name == "counted"]
numbers = {{sample.labels["kind"][:5]: sample.value for sample in metric.samples}}
tell(numbers.pop("first"), numbers.pop("last"), len(numbers), sum(numbers.values()))
tell((directory / "counter_{process}.db").stat().st_size > 1 << 16)
"""
    later = 0 if process == "master" else 1
    assert played(tmp_path, program) == [[2.0, 7.0], [2.0 + later, 7.0, 200, sum(range(200))], [True]]


def test_there_are_no_exemplars_in_files(tmp_path: Path) -> None:
    program = """
counted.labels("cat").inc(1, {"trace_id": "7"})
tell(counted.labels("cat")._value.get_exemplar())
summed("counted_total")
"""
    assert played(tmp_path, program) == [[None], [["counted_total", "cat", 1.0]]]
