"""Callers that never stop: some on connections that they keep, some on a new one for each request."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from tests.process.conftest import Service
from tests.process.double import BODY, INFER
from tests.process.wire import Wire, request, wire

_PAUSE = 0.01
_CALLERS = 2
"""Of each kind."""


@dataclass(frozen=True)
class Call:
    """One request: what came back (a factor, or what went wrong), and when it was asked and answered."""

    factor: float | str
    asked: float
    answered: float
    is_last: bool = False

    @property
    def seconds(self) -> float:
        return self.answered - self.asked


class Traffic:
    """`calls` are those that have ended, of each caller by itself."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_over = Event()
        self.calls: list[list[Call]] = [[] for _ in range(2 * _CALLERS)]
        self._threads = [
            Thread(target=self._keep if index < _CALLERS else self._renew, args=(calls,))
            for index, calls in enumerate(self.calls)
        ]

    @property
    def all(self) -> list[Call]:
        return sorted((call for calls in self.calls for call in calls), key=lambda call: call.asked)

    @property
    def failures(self) -> list[Call]:
        return [call for call in self.all if isinstance(call.factor, str)]

    def factors(self) -> set[float | str]:
        return {call.factor for call in self.all}

    def wait_for(self, factor: float) -> None:
        """Until every caller has got it."""
        self._service.wait_until(
            lambda: all(calls and calls[-1].factor == factor for calls in self.calls), f"answering {factor}"
        )

    def wait_for_more(self) -> None:
        """Until every caller has been answered a few times more."""
        counts = [len(calls) for calls in self.calls]
        self._service.wait_until(
            lambda: all(len(calls) > count + 3 for calls, count in zip(self.calls, counts, strict=True)), "answering"
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _keep(self, calls: list[Call]) -> None:
        """A connection that has been told to close is followed by another."""
        while not self._is_over.is_set():
            try:
                with wire(self._service.api) as connection:
                    while not self._is_over.wait(_PAUSE):
                        calls.append(_call(connection))
                        if calls[-1].is_last:
                            break
            except (OSError, AssertionError, ValueError) as error:
                _fail(calls, error)

    def _renew(self, calls: list[Call]) -> None:
        while not self._is_over.wait(_PAUSE):
            try:
                with wire(self._service.api) as connection:
                    calls.append(_call(connection))
            except (OSError, AssertionError, ValueError) as error:
                _fail(calls, error)


@contextmanager
def traffic(service: Service) -> Iterator[Traffic]:
    """While the block runs."""
    made = Traffic(service)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def _call(connection: Wire) -> Call:
    asked = time.monotonic()
    connection.send(request("POST", INFER, BODY))
    answer = connection.answer()
    answered = time.monotonic()
    is_last = answer.headers.get("connection") == "close"
    if answer.status_code != 200:
        return Call(f"{answer.status_code}: {answer.content!r}", asked, answered, is_last)
    factor = json.loads(answer.content)["outputs"][0]["data"][0]
    return Call(factor, asked, answered, is_last)


def _fail(calls: list[Call], error: Exception) -> None:
    now = time.monotonic()
    calls.append(Call(f"{type(error).__name__}: {error}", now, now, is_last=True))
