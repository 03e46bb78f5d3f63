"""The process that drives: of its own, so that nothing else of ours runs beside it."""

import multiprocessing
import os
from collections.abc import Callable, Collection
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Final, ParamSpec, Self, TypeVar

from service.bench.failures import BenchFailed
from service.supervision.orphans import end_with_parent, sheltered

P = ParamSpec("P")
T = TypeVar("T")

_TICK_SECONDS: Final = 0.1


class Generator:
    """Lives as long as the block, and ends with it at once, whatever it is doing."""

    def __enter__(self) -> Self:
        # Spawned: a fork would take ONNX Runtime's threads for alive.
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # which would hear signals again once it has been started
        with sheltered():
            self._process.start()
        theirs.close()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.join()
        self._ours.close()

    def on(self, cores: Collection[int], tick: Callable[[float], None] = lambda seconds: None) -> "Seat":
        """Where it shall drive from. `tick` hears of the seconds that pass meanwhile, and may raise."""
        return Seat(self, cores, tick)

    def kill(self) -> None:
        self._process.kill()

    def send(self, *job: Any) -> None:
        self._ours.send(job)

    def receive(self, tick: Callable[[float], None]) -> Any:
        while not self._ours.poll(_TICK_SECONDS):
            tick(_TICK_SECONDS)
        try:
            return self._ours.recv()
        except EOFError:
            raise BenchFailed("the load generator has died; was there too little memory for it?") from None


class Seat:
    """The generator on some cores."""

    def __init__(self, generator: Generator, cores: Collection[int], tick: Callable[[float], None]) -> None:
        self._generator, self._cores, self._tick = generator, cores, tick

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function, there. Raises what it raises."""
        self._tick(0)
        self._generator.send(tuple(self._cores), function, args, kwargs)
        try:
            found, error = self._generator.receive(self._tick)
        except KeyboardInterrupt:
            self._generator.kill()  # at once, so that the service need not finish what is still being sent
            raise
        if error is not None:
            raise error
        result: T = found
        return result


def _serve(pipe: "Connection[Any, Any]") -> None:
    end_with_parent()
    while True:
        try:
            cores, function, args, kwargs = pipe.recv()
        except EOFError:
            return
        os.sched_setaffinity(0, cores)
        try:
            answer: tuple[Any, Exception | None] = (function(*args, **kwargs), None)
        except Exception as error:  # told to whoever has asked
            answer = (None, error)
        pipe.send(answer)
