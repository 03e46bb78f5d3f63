"""What is counted of a version, for how long it is seen, and when it leaves the files.

In processes of their own, whose metrics lie in files.
"""

import subprocess
import sys
from pathlib import Path

import pytest

BEGINNING = """
import asyncio, os, sys
from pathlib import Path
from service.telemetry import identity

directory = Path(sys.argv[1])
identity.keep_metrics_in(directory)
identity.become("worker-0")
from service.board import Board
from service.telemetry import metrics, zeros
from service.telemetry.scrape import Scrape
from service.telemetry.sweeper import Sweeper
from service.telemetry.versions import Versions

def count(version, times=1):
    zeros.of_model("cat", version)
    metrics.inference_requests("cat", version, "ok").inc(times)
    for stage in metrics.stages("cat", version):
        stage.observe(0.5, times)
    metrics.batches("cat", version, 1)[0].observe(1, times)

def after(*generations):
    before, served = (tuple(("cat", version, "") for version in versions) for versions in generations)
    return Versions(served, before)

def sweep(versions):
    asyncio.run(Sweeper(lambda: versions).look())

def lines(versions):
    text = Scrape(Board(slots=1), lambda: versions, directory).render("")[0].decode()
    return sorted(line for line in text.splitlines() if "version=" in line and "_info" not in line)

def show(versions):
    for line in lines(versions):
        if 'outcome="ok"' in line or line.startswith("onnicorn_inference_run_seconds_sum"):
            print(line.removeprefix("onnicorn_inference_"))
    print(len(lines(versions)))

def as_process(name, work):
    sys.stdout.flush()  # else the other process would say it too
    if pid := os.fork():
        assert os.waitpid(pid, 0) == (pid, 0)
    else:
        identity.become(name)
        work()
        sys.stdout.flush()
        os._exit(0)
"""


def printed(program: str, folder: Path) -> list[str]:
    command = [sys.executable, "-c", BEGINNING + program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


SHOWN = [
    'requests_total{model="cat",outcome="ok",version="2"} 2.0',
    'requests_total{model="cat",outcome="ok",version="3"} 1.0',
    'run_seconds_sum{model="cat",version="2"} 1.0',
    'run_seconds_sum{model="cat",version="3"} 0.5',
    "192",
]


def test_a_version_is_seen_until_the_change_after_the_one_that_took_it_away(tmp_path: Path) -> None:
    program = """
for version in (1, 2, 3):
    count(version)
    count(max(version - 1, 1))  # a request that was admitted before
show(after([2], [3]))
sweep(after([2], [3]))
show(after([2], [3]))
show(after([1, 2], [3]))
"""
    assert printed(program, tmp_path) == SHOWN * 3


def test_all_workers_numbers_vanish_at_once_whoever_has_swept(tmp_path: Path) -> None:
    """Were they seen to go one after the other, what is left of their sum would look like a burst."""
    program = """
def work():
    count(1, 100)
    count(2)

as_process("worker-1", work)
work()
for versions in (after([1], [2]), after([2], [3])):
    shown = lines(versions)
    as_process("worker-1", lambda: sweep(versions))
    assert lines(versions) == shown
    sweep(versions)
    assert lines(versions) == shown
    print(*(line for line in shown if 'outcome="ok"' in line))
"""
    first, second = (f'onnicorn_inference_requests_total{{model="cat",outcome="ok",version="{n}"}}' for n in (1, 2))
    assert printed(program, tmp_path) == [f"{first} 200.0 {second} 2.0", f"{second} 2.0"]


def test_what_is_counted_while_files_are_swept_is_not_lost(tmp_path: Path) -> None:
    program = """
def is_gone(labels):
    return labels.get("version") == "1"

metrics.WORKER_EXITS.labels("killed").inc()
count(1)
count(2)
drafts = identity.draft(is_gone)
count(1)
count(2)
count(3)
metrics.forget(is_gone)
identity.adopt(drafts)
count(2)
count(3)
metrics.WORKER_EXITS.labels("killed").inc()
show(after([1, 2], [3]))
assert b'exits_total{reason="killed"} 2.0' in Scrape(Board(slots=1), Versions, directory).render("")[0]
"""
    assert printed(program, tmp_path) == [
        'requests_total{model="cat",outcome="ok",version="2"} 3.0',
        'requests_total{model="cat",outcome="ok",version="3"} 2.0',
        'run_seconds_sum{model="cat",version="2"} 1.5',
        'run_seconds_sum{model="cat",version="3"} 1.0',
        "192",
    ]


def test_a_successor_sweeps_what_its_predecessor_has_counted(tmp_path: Path) -> None:
    program = """
count(1)
count(2)

def work():
    count(2)
    count(3)
    show(after([2], [3]))
    sweep(after([2], [3]))
    show(after([2], [3]))
    show(after([1, 2], [3]))

as_process("worker-0", work)
"""
    assert printed(program, tmp_path) == SHOWN * 3


@pytest.mark.parametrize("refused", ["counter", "histogram"])
def test_where_no_file_is_to_be_had_all_goes_on_as_before(refused: str, tmp_path: Path) -> None:
    program = f"""
opened = identity._opened

def refuse(path):
    if path.name.startswith({refused!r}):
        raise OSError(24, "Too many open files")
    return opened(path)

for version in (1, 2):
    count(version)
identity._opened = refuse
try:
    sweep(after([2], [3]))
except OSError as error:
    print(error)
count(2)
identity._opened = opened
count(3)
show(after([2], [3]))
sweep(after([2], [3]))
show(after([2], [3]))
show(after([1, 2], [3]))
"""
    assert printed(program, tmp_path) == ["[Errno 24] Too many open files", *SHOWN * 3]


def test_what_comes_back_while_files_are_swept_is_not_swept(tmp_path: Path) -> None:
    program = """
for version in (1, 2, 3):
    count(version)
told = [after([2], [3]), after([3], [1])]
sweeper = Sweeper(lambda: told.pop(0) if len(told) > 1 else told[0])
asyncio.run(sweeper.look())
print(*(line for line in lines(after([3], [1])) if 'outcome="ok"' in line))
asyncio.run(sweeper.look())
print(len(lines(after([3], [1]))), len(lines(after([1, 2], [3]))))
"""
    one, three = (f'onnicorn_inference_requests_total{{model="cat",outcome="ok",version="{n}"}} 1.0' for n in (1, 3))
    assert printed(program, tmp_path) == [f"{one} {three}", "192 192"]


@pytest.mark.parametrize("versions", [10, 200])
def test_files_are_as_large_after_many_versions_as_after_a_few(versions: int, tmp_path: Path) -> None:
    program = f"""
for version in range(1, {versions}):
    count(version)
    sweep(after([version - 1], [version]))
print(*sorted((file.name, file.stat().st_size) for file in directory.iterdir()), sep="\\n")
"""
    kinds = ("counter", "gauge_livesum", "gauge_max", "histogram")
    assert printed(program, tmp_path) == [f"('{kind}_worker-0.db', 65536)" for kind in kinds]


def test_a_worker_sweeps_by_itself_and_a_failure_does_not_end_that(tmp_path: Path) -> None:
    program = """
async def scenario():
    looks, done = [], asyncio.Event()

    def versions():
        looks.append(1)
        if len(looks) == 1:
            raise OSError(24, "Too many open files")
        if len(looks) > 3:  # each sweep asks twice
            loop.call_soon_threadsafe(done.set)
        return served

    loop, served = asyncio.get_running_loop(), after([2], [3])
    async with Sweeper(versions, interval=0):
        await asyncio.wait_for(done.wait(), 60)
    assert asyncio.all_tasks() == {asyncio.current_task()}

from service.knobs import Log
from service.telemetry import logs
logs.configure(Log(format="json"))
for version in (1, 2, 3):
    count(version)
asyncio.run(scenario())
show(after([1, 2], [3]))
"""
    failure, *shown = printed(program, tmp_path)
    assert '"event":"sweep_failed"' in failure
    assert shown == [
        'requests_total{model="cat",outcome="ok",version="2"} 1.0',
        'requests_total{model="cat",outcome="ok",version="3"} 1.0',
        'run_seconds_sum{model="cat",version="2"} 0.5',
        'run_seconds_sum{model="cat",version="3"} 0.5',
        "192",
    ]
