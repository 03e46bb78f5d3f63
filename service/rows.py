"""One row of the board: numbers by position, and a short text.

A row has one writer at a time, and every number in it is one aligned eight-byte store, so nobody needs a lock.
"""

import os
import time
from enum import IntEnum
from typing import Final

_WORDS: Final = 16  # numbers in a row
_TEXT: Final = 384  # bytes of text in a row, the first two of which are its length
ROW: Final = _WORDS * 8 + _TEXT


class State(IntEnum):
    """Where a worker is in its life."""

    FREE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    STOPPED = 4


# What may follow what; FREE is written by the master alone, when the process is gone.
MOVES: Final = {
    State.FREE: {State.STARTING},
    State.STARTING: {State.READY, State.STOPPED},
    State.READY: {State.DRAINING, State.STOPPED},
    State.DRAINING: {State.STOPPED},
    State.STOPPED: set[State](),
}


class Row:
    """Numbers by position, and a short text."""

    def __init__(self, memory: memoryview, index: int) -> None:
        start = index * ROW
        self._words = memory[start : start + _WORDS * 8].cast("Q")
        self._bytes = memory[start + _WORDS * 8 : start + ROW]

    @property
    def text(self) -> str:
        """For people; a reader that meets a writer may see a torn one."""
        length = int.from_bytes(self._bytes[:2], "little")
        return bytes(self._bytes[2 : 2 + length]).decode(errors="replace")

    @text.setter
    def text(self, text: str) -> None:
        data = text.encode()[: _TEXT - 2]
        self._bytes[2 : 2 + len(data)] = data
        self._bytes[:2] = len(data).to_bytes(2, "little")

    def clear(self) -> None:
        for position in range(_WORDS):
            self._words[position] = 0
        self.text = ""


class WorkerRow(Row):
    """One worker slot: pid, state, generation, heartbeat."""

    @property
    def pid(self) -> int:
        return self._words[0]

    @property
    def state(self) -> State:
        return State(self._words[1])

    @property
    def generation(self) -> int:
        return self._words[2]

    @property
    def silent_seconds(self) -> float:
        """How long ago the worker's event loop last beat."""
        return _seconds_since(self._words[3])

    @property
    def seconds_in_state(self) -> float:
        """How long ago it came into the state that it is in."""
        return _seconds_since(self._words[5])

    @property
    def staged(self) -> int:
        """The generation that lies ready beside the one that is served; the latter, where there is none."""
        return self._words[6]

    @staged.setter
    def staged(self, generation: int) -> None:
        self._words[6] = generation

    @property
    def refused(self) -> int:
        """The last generation that could not be staged; `text` says why."""
        return self._words[7]

    @property
    def accepts(self) -> bool:
        """Does it take new connections?"""
        return bool(self._words[8])

    @accepts.setter
    def accepts(self, accepts: bool) -> None:
        self._words[8] = int(accepts)

    def refuse(self, generation: int, reason: str) -> None:
        self.text = reason
        self._words[7] = generation

    def occupy(self) -> None:
        """The master, before the fork."""
        self.clear()
        self.move(State.STARTING)
        self.beat()

    def adopt(self) -> None:
        """The worker, after the fork."""
        self._words[0] = os.getpid()

    def move(self, to: State) -> None:
        """Raises ValueError for a move that is not in MOVES."""
        if to not in MOVES[self.state]:
            raise ValueError(f"a worker cannot go from {self.state.name} to {to.name}")
        self._words[5] = time.monotonic_ns()
        self._words[1] = to

    @property
    def connections(self) -> int:
        return self._words[4]

    @connections.setter
    def connections(self, count: int) -> None:
        self._words[4] = count

    def serve(self, generation: int) -> None:
        self._words[2] = generation

    def beat(self) -> None:
        self._words[3] = time.monotonic_ns()


class ServiceRow(Row):
    """The service as a whole: how many workers are wanted, what is committed, whether it is ending."""

    @property
    def workers(self) -> int:
        """How many workers the master means to have."""
        return self._words[0]

    @workers.setter
    def workers(self, count: int) -> None:
        self._words[0] = count

    @property
    def generation(self) -> int:
        """The committed generation; 0 before the first one is prepared."""
        return self._words[1]

    @property
    def before(self) -> int:
        """The generation that the committed one has replaced; 0 where that is the first."""
        return self._words[9]

    @property
    def models(self) -> int:
        """How many model versions the committed generation has."""
        return self._words[2]

    def commit(self, generation: int, models: int) -> None:
        """From this store on, every request that any worker admits is answered by that generation."""
        self._words[2] = models
        self._words[8] = max(generation, self._words[8])
        self._words[6] = generation
        self._words[9] = self._words[1]
        self._words[1] = generation

    @property
    def started(self) -> bool:
        """True from the moment when every worker had become ready for the first time."""
        return bool(self._words[3])

    @started.setter
    def started(self, started: bool) -> None:
        self._words[3] = int(started)

    @property
    def target(self) -> int:
        """The generation that workers are to stage; the committed one, where no reload is under way."""
        return self._words[6]

    @target.setter
    def target(self, generation: int) -> None:
        self._words[6] = generation

    @property
    def last_number(self) -> int:
        """The highest number that a generation has been given, committed or not: none is used twice."""
        return self._words[8]

    @last_number.setter
    def last_number(self, generation: int) -> None:
        self._words[8] = generation

    @property
    def reloads(self) -> int:
        """How far the wishes have been fulfilled or refused: a position in their file."""
        return self._words[7]

    @reloads.setter
    def reloads(self, position: int) -> None:
        self._words[7] = position

    @property
    def slots_used(self) -> int:
        """Slots from this one on have never been occupied."""
        return self._words[5]

    @slots_used.setter
    def slots_used(self, count: int) -> None:
        self._words[5] = count

    @property
    def terminating(self) -> bool:
        return bool(self._words[4])

    @terminating.setter
    def terminating(self, terminating: bool) -> None:
        self._words[4] = int(terminating)


def _seconds_since(moment: int) -> float:
    return max(0.0, (time.monotonic_ns() - moment) / 1e9)
