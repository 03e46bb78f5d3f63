"""A gate that a service stands still at, for as long as a test wants."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from tests.process.conftest import Service
from tests.process.double import TWOS, golden_sample


class Gate:
    """A golden sample that is a FIFO: whoever replays it stands still until the test lets it through."""

    def __init__(self, file: Path) -> None:
        os.mkfifo(file)
        self._file = file

    @contextmanager
    def holding_one(self, service: Service, sample: str = golden_sample(*TWOS)) -> Iterator[None]:
        """Somebody stands before the gate while the block runs, and gets the sample at its end."""
        entrance = service.wait_until(self.try_open, "at the gate")
        assert entrance is not None
        with entrance:
            yield
            with suppress(BrokenPipeError):  # whoever stood there may have been killed
                entrance.write(sample.encode())

    def try_open(self) -> FileIO | None:
        # Without blocking this fails as long as nobody reads.
        with suppress(OSError):
            return FileIO(os.open(self._file, os.O_WRONLY | os.O_NONBLOCK), "w")
        return None
