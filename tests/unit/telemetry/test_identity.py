"""Metric files named by what a process is: in a process of its own, for prometheus_client decides at its import."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
from pathlib import Path
from service.telemetry import identity

directory = Path(sys.argv[1])
identity.keep_metrics_in(directory)
from service.board import Board
from service.telemetry.metrics import PENDING, WORKER_EXITS
from service.telemetry.scrape import Scrape
from service.telemetry.versions import Versions

def worker(slot, requests):
    pid = os.fork()
    if not pid:
        identity.become(f"worker-{slot}")
        PENDING.labels("cat").set(requests)
        WORKER_EXITS.labels("killed").inc(requests)
        os._exit(0)
    assert os.waitpid(pid, 0) == (pid, 0)

WORKER_EXITS.labels("killed").inc(100)
for slot, requests in ((0, 1), (1, 2), (0, 4)):
    worker(slot, requests)
print(*sorted(file.name for file in directory.iterdir()))

def show():
    cat = Versions(served=(("cat", 1, ""),))
    for line in sorted(Scrape(Board(slots=1), lambda: cat, directory).render("")[0].decode().splitlines()):
        if line.startswith(("onnicorn_worker_exits", "onnicorn_inference_pending")):
            print(line)

show()
"""
BURIED = """
identity.bury("worker-0")
show()
worker(0, 3)
show()
"""


def printed(program: str, folder: Path) -> list[str]:
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_successor_goes_on_in_the_files_of_its_slot(tmp_path: Path) -> None:
    files, *lines = printed(PROGRAM, tmp_path)
    assert files.split() == [
        f"{kind}_{process}.db"
        for kind in ("counter", "gauge_livesum", "histogram")
        for process in ("master", "worker-0", "worker-1")
        if (kind, process) != ("gauge_livesum", "master")
    ]
    assert lines == [
        'onnicorn_inference_pending{model="cat"} 6.0',
        'onnicorn_worker_exits_total{reason="killed"} 107.0',
    ]


def test_what_a_worker_that_is_gone_was_running_is_pending_no_more_whoever_comes_after_it(tmp_path: Path) -> None:
    _, _, _, *lines = printed(PROGRAM + BURIED, tmp_path)
    assert lines == [
        'onnicorn_inference_pending{model="cat"} 2.0',
        'onnicorn_worker_exits_total{reason="killed"} 107.0',
        'onnicorn_inference_pending{model="cat"} 5.0',
        'onnicorn_worker_exits_total{reason="killed"} 110.0',
    ]
