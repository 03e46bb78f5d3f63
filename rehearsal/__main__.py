"""`make rehearse`: two copies of the service behind HAProxy, replaced one after another under load.

Before an old copy is told to end, its successor is ready: what a Deployment with `maxUnavailable: 0` does. HAProxy has
the configuration of `deploy/`, Prometheus its rules. Everything listens on loopback, on free ports, and ends with this.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rehearsal import balancer, watcher
from rehearsal.copies import Copies, Slot
from rehearsal.load import Load, learn
from rehearsal.process import ROOT, Failed, answers, free_ports, running
from rehearsal.report import Report

_PROGRAMS: Final = ("haproxy", "prometheus")
_COPIES: Final = 2


def main() -> int:
    arguments = _arguments()
    if missing := [program for program in _PROGRAMS if not _found(program)]:
        print(f"the rehearsal needs {' and '.join(missing)}; on Debian: apt install {' '.join(missing)}")
        return 2
    for each in (signal.SIGTERM, signal.SIGHUP):  # so that everything that was started is ended
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="onnicorn-rehearsal-"))
    print(
        f"{_COPIES} copies behind HAProxy, each replaced {arguments.rolls} times; what they print is in {folder}",
        flush=True,
    )
    try:
        report = _rehearse(arguments.rolls, arguments.deploy, folder)
    except Failed as error:
        print(f"rehearsal: {error}")
        return 1
    except KeyboardInterrupt:
        print("rehearsal: interrupted; everything has been ended")
        return 130
    print(report)
    if report.is_good() and not arguments.keep:
        shutil.rmtree(folder)
    return 0 if report.is_good() else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rolls", type=int, default=10, help="how often all copies are replaced (default: 10)")
    parser.add_argument("--deploy", type=Path, default=ROOT / "deploy", help="where haproxy/ and prometheus/ lie")
    parser.add_argument("--keep", action="store_true", help="keep what they printed even if all was well")
    return parser.parse_args()


def _rehearse(rolls: int, deploy: Path, folder: Path) -> Report:
    front, prometheus, *ports = free_ports(2 + 2 * (_COPIES + 1))
    slots = [Slot(f"slot{index}", *ports[2 * index : 2 * index + 2]) for index in range(_COPIES + 1)]
    with ExitStack() as stack:
        copies = Copies(slots, folder, stack)
        for _ in range(_COPIES):
            copies.start()
        _start_balancer(stack, deploy, folder, front, slots)
        watching = _start_watcher(stack, deploy, folder, prometheus, slots)
        calling, started, trouble = Load(front, learn(front)), time.monotonic(), list[str]()
        with _noted(trouble), calling.running():
            for number in range(1, rolls + 1):
                _roll(copies)
                _tell(number, calling)
        replaced, seconds = copies.started - _COPIES, time.monotonic() - started
        fired, pending = list[str](), list[str]()
        with _noted(trouble):
            fired, pending = (watcher.alerts(watching, state) for state in ("firing", "pending"))
        with _noted(trouble):
            copies.end_all()
        return Report(replaced, seconds, calling.calls, *copies.runs(), fired, pending, trouble)


@contextmanager
def _noted(trouble: list[str]) -> Iterator[None]:
    """So that the table is printed whatever has gone wrong."""
    try:
        yield
    except Failed as error:
        trouble.append(f"rehearsal: {error}")


def _roll(copies: Copies) -> None:
    for _ in range(_COPIES):
        copies.start()
        copies.end_oldest()


def _start_balancer(stack: ExitStack, deploy: Path, folder: Path, port: int, slots: Sequence[Slot]) -> None:
    file = folder / "haproxy.cfg"
    file.write_text(balancer.configuration(balancer.read(deploy / "haproxy" / "haproxy.cfg"), port, slots))
    program = stack.enter_context(running("haproxy", (_found("haproxy"), "-db", "-f", str(file)), folder))
    # It takes a server for up until a check has said otherwise; one slot is empty, so wait until that has been seen.
    program.wait_until(lambda: _is_down(folder, slots[-1].name), "aware of the empty slot")
    program.wait_until(lambda: answers(f"http://127.0.0.1:{port}/v2/health/live"), "answering")


def _is_down(folder: Path, name: str) -> bool:
    return f"/{name} is DOWN" in (folder / "haproxy.log").read_text()


def _start_watcher(stack: ExitStack, deploy: Path, folder: Path, port: int, slots: Sequence[Slot]) -> str:
    file = folder / "prometheus.yml"
    rules = (deploy / "prometheus" / "rules").absolute()
    if not rules.is_dir():
        print(f"no rules are watched: there is no {rules}")
    file.write_text(watcher.configuration(slots, rules))
    address = f"127.0.0.1:{port}"
    command = (
        *(_found("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'prometheus'}"),
        *(f"--web.listen-address={address}", "--log.level=warn"),
    )
    program = stack.enter_context(running("prometheus", command, folder))
    program.wait_until(lambda: answers(f"http://{address}/-/ready"), "ready")
    return f"http://{address}"


def _found(program: str) -> str:
    """Debian puts HAProxy where only root's PATH leads."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin") or ""


def _tell(number: int, calling: Load) -> None:
    failed = sum(bool(call.outcome) for call in calling.calls)
    print(f"  roll {number}: {len(calling.calls):,} requests, {failed} failures", flush=True)


if __name__ == "__main__":
    sys.exit(main())
