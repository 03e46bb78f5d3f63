"""How soon a killed worker is replaced, with a prepared model and with one that every worker prepares for itself."""

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import orjson

from benchmarks import models
from benchmarks.bench import Bench
from benchmarks.result import Parts, Result, Target, compare
from benchmarks.server import Server, onnicorn

# A path below a file: nobody can make a directory there, not even root.
_UNWRITABLE: Final = "/dev/null/cache"
_PATIENCE_SECONDS: Final = 60


def measure(bench: Bench) -> Iterator[Result]:
    """A worker's start to READY, against the same where the cache directory cannot be used."""
    model = models.sentences()
    if model is None:
        bench.notes.append("left out: a worker's start, because ONNICORN_TEST_MODELS is not set")
        return
    cores = {bench.cores.serving}
    with ExitStack() as stack:
        prepared = stack.enter_context(onnicorn(model.parent, bench.folder, cores, name="prepared"))
        plain = stack.enter_context(
            onnicorn(model.parent, bench.folder, cores, name="plain", ONNICORN_CACHE__DIR=_UNWRITABLE)
        )
        found = bench.take_turns({server.name: partial(_seconds_to_ready, server) for server in (prepared, plain)})
    seconds = {name: Parts(name, values, "s") for name, values in found.items()}
    yield compare(
        "a worker's start to ready: prepared / plain load", seconds["prepared"], seconds["plain"], Target(0.4)
    )


def _seconds_to_ready(server: Server) -> float:
    """Kill the one worker; from the first sight of its successor on the board until that is READY."""
    (victim,) = _workers(server)
    os.kill(victim["pid"], signal.SIGKILL)
    born = 0.0
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (now := time.monotonic()) < deadline:
        for worker in _workers(server):
            if worker["pid"] not in (0, victim["pid"]):
                born = born or now
                if worker["state"] == "READY":
                    return now - born
        time.sleep(0.002)
    raise TimeoutError(f"no worker was ready {_PATIENCE_SECONDS} s after one was killed")


def _workers(server: Server) -> list[dict[str, Any]]:
    """As the ops port's /readyz tells them; it is 503 while the only worker is not ready, with the same body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.ops}/readyz", timeout=5) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    workers: list[dict[str, Any]] = orjson.loads(body)["workers"]
    return workers
