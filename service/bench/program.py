"""A program under this one: started on loopback, waited for, ended by its own pid whatever happens."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from service.bench.cores import pinned
from service.supervision.orphans import end_with_parent

# On loopback nobody's proxy is asked.
OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_START_SECONDS: Final = 60
_END_SECONDS: Final = 60
# The same where nobody asks how it ends.
_LEAVE_SECONDS: Final = 15


class ProgramFailed(Exception):
    """It did not start, or did not end; one line says which."""


class Program:
    """What it prints goes to a file of its own: a log line has to be paid for as in production."""

    def __init__(
        self, name: str, command: Sequence[str], output: Path, environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.output = output
        with output.open("wb") as stream:
            # In a session of its own, so that Ctrl-C in the terminal reaches us only, and we end it in order. If we are
            # killed it ends by itself.
            self.process = subprocess.Popen(  # noqa: S603 - no shell, and the command is ours
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, signal.SIGTERM),
            )

    def wait_until(self, condition: Callable[[], bool], expected: str, seconds: float = _START_SECONDS) -> None:
        """Raises ProgramFailed where it ends before, or takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            if (code := self.process.poll()) is not None:
                raise ProgramFailed(f"{self.name} ended with {code} before it was {expected}: see {self.output}")
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self.name} was not {expected} in {seconds:g} s: see {self.output}")
            time.sleep(0.02)

    def end(self) -> int:
        """SIGTERM, then the exit code; SIGKILL to its own session where that takes too long."""
        self.process.terminate()
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"{self.name} did not end in {_END_SECONDS} s after SIGTERM: see {self.output}"
            raise ProgramFailed(message) from None

    def kill(self) -> None:
        """Nothing of it is left, whatever state it is in."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    output: Path,
    environment: Mapping[str, str],
    folder: Path,
    cores: Set[int] | None = None,
) -> Iterator[Program]:
    """While the block runs: in `folder`, on `cores` or on all, with this environment and no other.

    To be called in the main thread, or in one that lives as long.
    """
    with pinned(cores or os.sched_getaffinity(0)):
        program = Program(name, command, output, environment, folder)
    try:
        yield program
    finally:
        try:
            if program.process.poll() is None:
                program.process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    program.process.wait(_LEAVE_SECONDS)
        finally:  # however often somebody presses Ctrl-C
            program.kill()


def answers(url: str) -> bool:
    """With a 200. For programs of ours, on loopback."""
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
