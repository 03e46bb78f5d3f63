"""Where a process sits among the others of the service."""

from pathlib import Path

from service.board import Board
from service.outcomes import Outcomes
from service.rows import WorkerRow
from service.wishes import Wishes


class Seat:
    """Where this process sits: the board it sees, its own row if it is a worker, and the files it shares.

    Without Gunicorn there is one process, and it sits alone: a board of its own with one row, and no files.
    """

    def __init__(self) -> None:
        self.board = Board(slots=1)
        self.board.service.workers = 1
        self.directory: Path | None = None
        self.slot: int | None = None
        # What the plan grants to request bodies, in bytes; 0 where nobody has planned.
        self.body_bytes = 0
        # One of its threads will never end: the process shall be replaced.
        self.is_stuck = False
        # The same of a load; it may end after all.
        self.has_hung_load = False
        self.take(self.board.occupy())

    def share(self, board: Board, directory: Path) -> None:
        """The master, before it forks: from now on this is one process of several, and no worker yet."""
        self.board, self.directory, self.slot = board, directory, None

    def take(self, slot: int) -> None:
        """A worker, after the fork."""
        self.slot = slot
        self.row.adopt()

    @property
    def row(self) -> WorkerRow:
        """Only a worker has one."""
        assert self.slot is not None
        return self.board.rows[self.slot]

    def completes_start(self) -> bool:
        """Called by a worker that became ready: True for one, though several may be the last at the same moment."""
        if not self.board.note_start():
            return False
        if self.directory is None:
            return True
        try:
            (self.directory / "started").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def last_words_of(self, slot: int) -> Path:
        """The file in which a worker that is killed says where it stood."""
        assert self.directory is not None
        return self.directory / f"stacks-{slot}"

    def manifest_of(self, generation: int) -> Path:
        """The file that says what a generation is made of, where there is a master."""
        assert self.directory is not None
        return self.directory / f"generation-{generation}.json"

    def manifests(self) -> list[Path]:
        """Those of all generations that are still there."""
        assert self.directory is not None
        return list(self.directory.glob("generation-*.json"))

    @property
    def wishes(self) -> Wishes:
        assert self.directory is not None
        return Wishes(self.directory / "wishes")

    @property
    def outcomes(self) -> Outcomes:
        assert self.directory is not None
        return Outcomes(self.directory)
