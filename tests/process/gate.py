"""A gate that a service stands still at, for as long as a test wants."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from tests.process.conftest import Service
from tests.process.double import TWOS, golden_sample


class Gate:
    """A FIFO beside a golden sample: whoever opens that stands still until the test lets it through.

    `doorkeeper/sitecustomize.py` sees to it, since a FIFO in the sample's own place is refused.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.with_name(f"{file.name}.gate")
        os.mkfifo(self._file)
        file.touch()

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
