"""What is counted of a version, and for how long: in a process of its own, whose metrics lie in files."""

import subprocess
import sys
from pathlib import Path

import pytest

BEGINNING = """
import os, sys
from pathlib import Path
from service.telemetry import identity

directory = Path(sys.argv[1])
identity.keep_metrics_in(directory)
identity.become("worker-0")
from service.board import Board
from service.telemetry import metrics
from service.telemetry.scrape import Scrape
from service.telemetry.versions import Versions

def count(version):
    metrics.inference_requests("cat", version, "ok").inc()
    for stage in metrics.stages("cat", version):
        stage.observe(0.5)
    metrics.batch_rows("cat", version).observe(1)

def show():
    text = Scrape(Board(slots=1), list, directory).render("")[0].decode()
    counted = [line for line in text.splitlines() if "version=" in line and "build_info" not in line]
    for line in counted:
        if 'outcome="ok"' in line or line.startswith(("onnicorn_inference_run_seconds_sum", "onnicorn_worker_exits")):
            print(line.removeprefix("onnicorn_inference_"))
    print(len(counted))

versions = Versions()
"""


def printed(program: str, folder: Path) -> list[str]:
    command = [sys.executable, "-c", BEGINNING + program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_version_is_counted_until_the_change_after_the_one_that_took_it_away(tmp_path: Path) -> None:
    program = """
for version in (1, 2, 3):
    versions.serve({("cat", version)})
    count(version)
    count(max(version - 1, 1))  # a request that was admitted before
show()
"""
    assert printed(program, tmp_path) == [
        'requests_total{model="cat",outcome="ok",version="2"} 2.0',
        'requests_total{model="cat",outcome="ok",version="3"} 1.0',
        'run_seconds_sum{model="cat",version="2"} 1.0',
        'run_seconds_sum{model="cat",version="3"} 0.5',
        "190",
    ]


def test_a_version_that_is_served_on_loses_nothing(tmp_path: Path) -> None:
    program = """
metrics.WORKER_EXITS.labels("killed").inc()
for dog in range(20):
    versions.serve({("cat", 1), ("dog", dog)})
    count(1)
assert b'onnicorn_worker_exits_total{reason="killed"} 1.0' in Scrape(Board(slots=1), list, directory).render("")[0]
versions.serve({("cat", 1)})
versions.serve({("cat", 1)})
show()
"""
    assert printed(program, tmp_path) == [
        'requests_total{model="cat",outcome="ok",version="1"} 20.0',
        'run_seconds_sum{model="cat",version="1"} 10.0',
        "95",
    ]


def test_a_successor_takes_over_what_is_still_served_and_forgets_the_rest_with_all_others(tmp_path: Path) -> None:
    program = """
versions.serve({("cat", 1)})
count(1)
versions.serve({("cat", 2)})
count(2)
if pid := os.fork():
    assert os.waitpid(pid, 0) == (pid, 0)
else:
    identity.become("worker-0")
    successor = Versions()
    successor.serve({("cat", 2)})
    count(2)
    show()
    successor.serve({("cat", 3)})
    show()
    sys.stdout.flush()
    os._exit(0)
"""
    assert printed(program, tmp_path) == [
        'requests_total{model="cat",outcome="ok",version="1"} 1.0',
        'requests_total{model="cat",outcome="ok",version="2"} 2.0',
        'run_seconds_sum{model="cat",version="1"} 0.5',
        'run_seconds_sum{model="cat",version="2"} 1.0',
        "190",
        'requests_total{model="cat",outcome="ok",version="2"} 2.0',
        'requests_total{model="cat",outcome="ok",version="3"} 0.0',
        'run_seconds_sum{model="cat",version="2"} 1.0',
        "101",
    ]


@pytest.mark.parametrize("versions", [10, 200])
def test_files_are_as_large_after_many_versions_as_after_a_few(versions: int, tmp_path: Path) -> None:
    program = f"""
for version in range(1, {versions}):
    versions.serve({{("cat", version)}})
    count(version)
print(*sorted((file.name, file.stat().st_size) for file in directory.iterdir()), sep="\\n")
"""
    assert printed(program, tmp_path) == [f"('{kind}_worker-0.db', 65536)" for kind in ("counter", "histogram")]
