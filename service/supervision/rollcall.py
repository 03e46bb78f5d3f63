"""Who has staged a generation, who cannot, and who has died of it, read from the board again and again."""

from typing import Final

from service.board import Board
from service.outcomes import Reason
from service.rows import State

# One worker may die while it stages, as it may at any time; two have died of it.
_MOST_DEATHS: Final = 1


class Refused(Exception):
    """The new generation cannot be served."""

    def __init__(self, *reasons: Reason) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


class Aborted(Refused):
    """The reload was called off for a reason that lies outside of the models."""


class RollCall:
    """Of all workers that answer requests, those that drain among them."""

    def __init__(self, board: Board, generation: int) -> None:
        self._board = board
        self._generation = generation
        self._present: set[int] = set()
        self._deaths = 0

    def is_complete(self) -> bool:
        """Has every worker staged it? Raises Refused where one cannot, Aborted where they die."""
        rows = [row for row in self._board.occupied() if row.state is not State.STOPPED]
        for row in rows:
            if row.refused == self._generation:
                raise Refused(Reason(text=row.text))
        self._deaths += len(self._present - {row.pid for row in rows})
        if self._deaths > _MOST_DEATHS:
            raise Aborted(Reason(text=f"{self._deaths} workers have died while they loaded the models"))
        # Who drains may go, and who has staged nothing yet has not come to this generation.
        self._present = {row.pid for row in rows if row.staged and row.state is not State.DRAINING}
        return bool(rows) and all(row.staged >= self._generation for row in rows)
