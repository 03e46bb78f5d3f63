"""Somebody who follows a page of the guide word by word: a shell in an empty home, and services in other terminals."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import LARGE_MODELS, LEFT_OUT, NO_TORCH
from tests.deploy.programs import program
from tests.process.conftest import MARK, ROOT, SECONDS, client, connect, free_addresses, kill_what_is_left
from tests.process.snippets import Block, Command

PATIENCE = 4 * SECONDS
"""How long one command may take: some train a model, some measure one."""
_END = "-- the command has ended"
# Where services of the pages listen: the API, the ops port, and whatever else a page starts.
_PORT = re.compile(r"((?:127\.0\.0\.1:|--port |localhost:))(8[05]\d\d)\b")
_SERVES = re.compile(r"(?:\w+=(?:'[^']*'|\"[^\"]*\"|\S*) )*(onnicorn serve|uvicorn)\b")
# PyTorch's wheel is too large for the tests' environment: another Python of this machine may have it.
MODELS = {"minilm"}
MODULES = {"torch": (sys.executable, "/usr/bin/python3"), "kserve": ("kserve-python",)}


class Stranger:
    """Runs blocks in their order. What a page shows of an output must be what is printed; `...` stands for anything."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._ports: dict[str, str] = {}
        self._service = 0
        (home / "onnicorn").symlink_to(ROOT)
        self._python = home / "bin" / "python"
        self._python.parent.mkdir()
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "+h"],  # which python that is may change between two blocks
            cwd=home,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        """A developer's own settings are not a stranger's; and nobody fetches packages here."""
        own = ("ONNICORN_", "GUNICORN_", "WEB_CONCURRENCY", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return kept | {
            "HOME": str(self.home),
            "PATH": f"{self.home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PIP_NO_INDEX": "1",
            "NO_PROXY": "*",
            "NO_COLOR": "1",
            "ORT_DISABLE_TELEMETRY": "1",
            "ONNICORN_HTTP__BIND": self._here("127.0.0.1:8000"),
            "ONNICORN_OPS__BIND": self._here("127.0.0.1:8002"),
            "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "0",
            MARK: str(self.home),
        }

    def follow(self, block: Block) -> None:
        if block.reason or block.language == "text":
            return
        if block.needs:
            self._find(block.needs)
        try:
            self._do(block)
        finally:
            self._python.unlink(missing_ok=True)

    def _do(self, block: Block) -> None:
        if block.language == "console":
            assert block.commands, f"{block.place}: expected lines that begin with '$ '"
            for command in block.commands:
                self._type(block.place, command)
        else:
            self._write(block)

    def _find(self, what: str) -> None:
        """A module: for this block `python` becomes one that has it. A model: it lies at home. Else a program."""
        if what in MODELS:
            self._lay(what)
            return
        if what not in MODULES:
            program(what)
            return
        for python in MODULES[what]:
            if (
                shutil.which(python)
                and not subprocess.run([python, "-c", f"import {what}"], capture_output=True, check=False).returncode
            ):
                self._python.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
                self._python.chmod(0o755)
                return
        if what == "torch":
            pytest.skip(NO_TORCH)
        program(MODULES[what][-1])

    def _lay(self, model: str) -> None:
        if not (folder := os.environ.get(LARGE_MODELS)):
            pytest.skip(LEFT_OUT)
        if not (self.home / model).exists():
            (self.home / model).symlink_to(Path(folder) / model)

    def _write(self, block: Block) -> None:
        assert block.file, f"{block.place}: expected the name of a file in the first line, such as '# train.py'"
        here, _ = self._run("pwd")
        file = Path(here.strip()) / block.file.replace("~", str(self.home))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._here(block.text))

    def _type(self, place: str, command: Command) -> None:
        if _SERVES.match(command.text):
            self._serve(place, command)
            return
        printed, code = self._run(self._here(command.text))
        if command.shown:
            shown = ".*".join(map(re.escape, command.shown.strip().split("...")))
            there = self._there(printed.strip())
            assert re.fullmatch(shown, there, re.DOTALL), f"{place}: {command.text}\nprinted:\n{there}"
        # A page that shows a failure says so: `command || echo "exit code $?"`.
        assert code == 0, f"{place}: {command.text}\nended with {code}:\n{printed}"

    def _serve(self, place: str, command: Command) -> None:
        """In a terminal of its own, where Ctrl-C has ended the one before."""
        self.stop()
        log = self.home / "service.log"
        printed, _ = self._run(f"{self._here(command.text)} > {log} 2>&1 & echo $!")
        self._service = int(printed)
        deadline = time.monotonic() + PATIENCE
        while not self._is_started(command):
            running, _ = self._run(f"kill -0 {self._service} 2> /dev/null && sleep 0.05 && echo running")
            is_hopeless = not running or time.monotonic() > deadline
            assert not is_hopeless, f"{place}: {command.text}\n{log.read_text()}"

    def _is_started(self, command: Command) -> bool:
        port = re.search(r"--port (8[05]\d\d)", command.text)
        address = self._here(f"127.0.0.1:{port[1]}" if port else "127.0.0.1:8002")
        try:
            connect(address).close()
        except OSError:
            return False
        if port:
            return True
        with client(address) as ops:
            return ops.get("/startupz").status_code == 200

    def stop(self) -> None:
        """End the service that runs, if a page has not; it must have gone in order."""
        if not self._service:
            return
        self._run(f"kill {self._service}")
        _, code = self._run(f"wait {self._service}")
        log = (self.home / "service.log").read_text()
        assert code in (0, 143), log  # 143: Uvicorn, which ends by the signal
        self._service = 0

    def _run(self, command: str) -> tuple[str, int]:
        """What it prints to both streams, and its exit code."""
        writer, reader = self._shell.stdin, self._shell.stdout
        assert writer is not None
        assert reader is not None
        impatience = threading.Timer(PATIENCE, self._shell.kill)
        impatience.start()
        try:
            writer.write(f"{{ {command}\n}} < /dev/null\nprintf '\\n{_END} %s\\n' $?\n")
            writer.flush()
            lines: list[str] = []
            for line in reader:
                if line.startswith(_END):
                    return "".join(lines).removesuffix("\n"), int(line.split()[-1])
                lines.append(line)
        finally:
            impatience.cancel()
        pytest.fail(f"the shell was gone before this had ended:\n{command}\n{''.join(lines)}")

    def _here(self, text: str) -> str:
        """With ports that are free on this machine."""

        def free(match: re.Match[str]) -> str:
            if match[2] not in self._ports:
                self._ports[match[2]] = free_addresses()[0].rpartition(":")[2]
            return match[1] + self._ports[match[2]]

        return _PORT.sub(free, text)

    def _there(self, text: str) -> str:
        """With the ports and the home of the page."""
        for port, ours in self._ports.items():
            text = re.sub(rf"\b{ours}\b", port, text)
        return text.replace(str(self.home), "~")

    def close(self) -> None:
        """Nothing is left running."""
        kill_what_is_left(self._shell, self.home)
        for stream in (self._shell.stdin, self._shell.stdout):
            if stream:
                stream.close()


@contextmanager
def stranger(home: Path) -> Iterator[Stranger]:
    """One who leaves in order."""
    somebody = Stranger(home)
    try:
        yield somebody
        somebody.stop()
    finally:
        somebody.close()
