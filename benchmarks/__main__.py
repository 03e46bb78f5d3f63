"""`python -m benchmarks`: measure, print a table, write JSON and a picture."""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import service
from benchmarks import bulk, digits, gemms, hostile, image, latency, memory, overload, restart, sentences
from benchmarks.bench import Bench
from benchmarks.result import Result, table
from service.bench import picture

Measure = Callable[[Bench], Iterator[Result]]
MEASUREMENTS: Final[dict[str, Measure]] = {
    module.__name__.rpartition(".")[2]: module.measure
    for module in (digits, latency, gemms, image, sentences, memory, restart, bulk, overload, hostile)
}
# These take their time, and are asked for by name.
_BY_NAME: Final = ("bulk", "overload", "hostile")
DEFAULT: Final = tuple(name for name in MEASUREMENTS if name not in _BY_NAME)
_PACKAGES: Final = ("onnxruntime", "numpy", "orjson", "fastapi", "starlette", "uvicorn", "gunicorn", "uvloop")


def main() -> None:
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    _allow_connections()
    with Bench.prepared(arguments.rounds, arguments.seconds) as bench:
        results = list(_measured(bench, arguments.names))
    document = {
        "machine": _machine(),
        "seconds": round(time.monotonic() - started, 1),
        "results": [result.document() for result in results],
        "curves": {name: [point._asdict() for point in curve] for name, curve in bench.curves.items()},
        "notes": bench.notes,
        "failures": bench.failures,
    }
    (arguments.out / "results.json").write_text(json.dumps(document, indent=2) + "\n")
    if bench.curves:
        picture.write(arguments.out / "latency.svg", bench.curves, "digits, JSON: each server on one core")
    print("", table(results), "", *bench.notes, f"{document['seconds']:.0f} s; more in {arguments.out}/", sep="\n")
    if bench.failures:
        sys.exit(
            f"not every request was answered as it should be, so these figures are worth nothing: {bench.failures}"
        )


def _allow_connections() -> None:
    """To all processes that are started: the usual soft limit is 1,024 open files, which two floods exceed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = f"of {', '.join(MEASUREMENTS)}; all but {' and '.join(_BY_NAME)} where none is named"
    parser.add_argument("names", nargs="*", help=names)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender has its turn (default: 5)")
    parser.add_argument("--seconds", type=float, default=600, help="of hostile traffic; of an overload a tenth (600)")
    parser.add_argument("--quick", action="store_const", const=60.0, dest="seconds", help="the same as --seconds 60")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="the folder for JSON and picture")
    arguments = parser.parse_args()
    arguments.names = arguments.names or DEFAULT
    if unknown := set(arguments.names) - set(MEASUREMENTS):
        parser.error(f"nothing is called {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    return arguments


def _measured(bench: Bench, names: Iterable[str]) -> Iterator[Result]:
    for name in names:
        started = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        yield from MEASUREMENTS[name](bench)
        print(f"{time.monotonic() - started:.0f} s")


def _machine() -> dict[str, Any]:
    """Without it nobody can tell what a figure was measured with."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "onnicorn": service.__version__,
        "packages": {package: version(package) for package in _PACKAGES},
    }


def _cpuinfo() -> Sequence[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()


if __name__ == "__main__":
    main()
