"""The runs that are under way in threads, so that one can be ended that takes too long."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

import onnxruntime as ort

from service.errors import InferenceFailed, TransformFailed


class Run:
    """One run of a model version. `options` are what ONNX Runtime must be given for it."""

    __slots__ = ("_began", "_terminated", "model", "options", "version")

    def __init__(self, model: str, version: int) -> None:
        self.model: Final = model
        self.version: Final = version
        self.options: Final = ort.RunOptions()
        self._began = monotonic()
        self._terminated: float | None = None

    @property
    def seconds(self) -> float:
        return monotonic() - self._began

    @property
    def seconds_terminated(self) -> float | None:
        """How long ago it was told to end; None where it was not."""
        return None if self._terminated is None else monotonic() - self._terminated

    def stop(self) -> None:
        """Nobody wants its result any more. If it does not end for that, it is not yet stuck."""
        self.options.terminate = True

    def terminate(self) -> None:
        """ONNX Runtime looks at this between two operators, so a single endless one never notices."""
        self._terminated = monotonic()
        self.options.terminate = True


class Runs:
    """All of this process. They come and go in their threads, and are looked at from another one."""

    def __init__(self) -> None:
        self._under_way: set[Run] = set()
        self._stuck: set[tuple[str, int]] = set()

    @contextmanager
    def enter(self, model: str, version: int) -> Iterator[Run]:
        """Under way while the block runs; if it fails once it was terminated, its failure says so."""
        run = Run(model, version)
        self._under_way.add(run)
        try:
            yield run
        except (InferenceFailed, TransformFailed) as failure:
            failure.terminated = run.seconds_terminated is not None
            raise
        finally:
            self._under_way.discard(run)

    def note_stuck(self, run: Run) -> None:
        """It does not end, and whoever waits behind it waits in vain."""
        self._stuck.add((run.model, run.version))

    def is_stuck(self, model: str, version: int) -> bool:
        return (model, version) in self._stuck

    def under_way(self) -> list[Run]:
        return list(self._under_way)  # one step of the interpreter: no lock is needed
