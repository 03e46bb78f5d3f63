"""A program under this one: started on loopback, waited for, ended by its own pid whatever happens."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
# On loopback nobody's proxy is asked.
OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# What a developer has set for another service.
_OTHERS: Final = ("ONNICORN_", "GUNICORN_")
_START_SECONDS: Final = 60
_END_SECONDS: Final = 60


class Failed(Exception):
    """The rehearsal cannot go on; one line says why."""


class Program:
    """What it prints goes to a file of its own."""

    def __init__(self, name: str, command: Sequence[str], output: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.output = output
        with output.open("wb") as stream:
            # In a session of its own, so that Ctrl-C in the terminal reaches us only, and we end it in order.
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=_inherited() | environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, condition: Callable[[], bool], expected: str) -> None:
        """Raises Failed where it ends before, or takes too long."""
        deadline = time.monotonic() + _START_SECONDS
        while not condition():
            if (code := self.process.poll()) is not None:
                raise Failed(f"{self.name} ended with {code} before it was {expected}: see {self.output}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} was not {expected} in {_START_SECONDS} s: see {self.output}")
            time.sleep(0.05)

    def end(self) -> int:
        """SIGTERM, then the exit code; SIGKILL to its own session where that takes too long."""
        self.process.terminate()
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} did not end in {_END_SECONDS} s after SIGTERM: see {self.output}") from None

    def kill(self) -> None:
        """Nothing of it is left, whatever state it is in."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(name: str, command: Sequence[str], folder: Path, **environment: str) -> Iterator[Program]:
    """While the block runs."""
    program = Program(name, command, folder / f"{name}.log", environment)
    try:
        yield program
    finally:
        try:
            if program.process.poll() is None:
                program.process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    program.process.wait(_END_SECONDS / 4)
        finally:  # however often somebody presses Ctrl-C
            program.kill()


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}


def answers(url: str) -> bool:
    """With a 200."""
    try:
        with OPENER.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Nobody listens on them at the moment, on loopback."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]
