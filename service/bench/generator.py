"""The process that drives: of its own, so that nothing else of ours runs beside it."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection
from typing import Any, Final, ParamSpec, Self, TypeVar

from service.bench.failures import BenchFailed

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
        self._process.start()
        theirs.close()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.join()
        self._ours.close()

    def on(self, cores: Collection[int], tick: Callable[[float], None] = lambda seconds: None) -> "Seat":
        """Where it shall drive from; `tick` hears of the seconds that pass meanwhile."""
        return Seat(self._ours, cores, tick)


class Seat:
    """The generator on some cores."""

    def __init__(self, pipe: "Connection[Any, Any]", cores: Collection[int], tick: Callable[[float], None]) -> None:
        self._pipe, self._cores, self._tick = pipe, cores, tick

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function, there. Raises what it raises."""
        self._pipe.send((tuple(self._cores), function, args, kwargs))
        while not self._pipe.poll(_TICK_SECONDS):
            self._tick(_TICK_SECONDS)
        try:
            found, error = self._pipe.recv()
        except EOFError:
            raise BenchFailed("the load generator has died; was there too little memory for it?") from None
        if error is not None:
            raise error
        result: T = found
        return result


def _serve(pipe: "Connection[Any, Any]") -> None:
    # Ctrl-C in a terminal reaches all processes; the one that has started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
