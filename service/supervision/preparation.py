"""The first generation, made in a child process: a master that loads no model stays small and free of threads."""

import os
import signal
from contextlib import suppress
from typing import Final

from service.engine.manifest import Manifest
from service.errors import StartError
from service.loading import first_generation
from service.seat import Seat
from service.settings import Settings
from service.supervision import child
from service.supervision.orphans import end_with_parent

FIRST: Final = 1  # the generation that a start prepares


class PrepareDied(StartError):
    """The child that checks the models was killed."""

    code = "prepare_died"


class PrepareTimeout(StartError):
    """The child that checks the models did not come to an end."""

    code = "prepare_timeout"


class Preparation:
    """What it finds it shows on the board, and writes into the directory of the service."""

    def __init__(self, settings: Settings, seat: Seat) -> None:
        self._settings = settings
        self._seat = seat
        self._pid = 0

    def run(self) -> Manifest:
        """Blocks. Raises StartError; raises SystemExit where the child has said why already."""
        seconds = self._settings.lifecycle.load_seconds
        self._pid = child.fork("prepare", self._prepare)
        try:
            code = child.wait(self._pid, seconds)
        except TimeoutError:
            self.end()
            raise PrepareTimeout(
                f"{self._seat.board.service.text or 'checking the models'} was not done after {seconds:g} s, "
                "the limit that ONNICORN_LIFECYCLE__LOAD_SECONDS sets"
            ) from None
        self._pid = 0
        if code == 1:
            raise SystemExit(1)
        if code:
            raise PrepareDied(f"checking the models was ended by signal {-code}; if that is 9, memory is too small")
        return Manifest.read(self._seat.manifest_of(FIRST))

    def end(self) -> None:
        """Kill the child, if there is one, and whatever it has started."""
        pid, self._pid = self._pid, 0
        if pid:
            with suppress(ProcessLookupError):  # it has not made its group yet
                os.killpg(pid, signal.SIGKILL)
            child.kill(pid)

    def _prepare(self) -> None:
        def progress(note: str) -> None:
            self._seat.board.service.text = note

        # It shall not slow down what else runs here; a group of its own keeps a terminal's Ctrl-C away from it.
        end_with_parent()
        os.nice(10)
        os.setpgid(0, 0)
        manifest = first_generation(self._settings, FIRST, progress)
        manifest.write(self._seat.manifest_of(FIRST))
