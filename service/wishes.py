"""What is asked of the repository while the service runs: one line for each wish, in one file that all append to.

A signal, a request and a change on disk come in by this one door, in whichever process they arrive. The position behind
a line is its number: whoever asked waits until the board says that the reloads have come so far.
"""

import errno
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError


class Wish(BaseModel):
    """Read everything again, load one model, or take one out."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["all", "load", "unload"] = "all"
    model: str = ""

    def concerns(self, model: str) -> bool:
        return self.kind == "all" or self.model == model


class Wishes:
    """The file of one service. It only grows, by a few bytes for each reload."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def ask(self, wish: Wish) -> int:
        """Returns the position that says when the wish has been dealt with. Raises OSError."""
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            line = wish.model_dump_json().encode() + b"\n"
            # Appended whole, whoever else does; but for a full disk. Then at least its line shall end.
            if os.write(descriptor, line) < len(line):
                os.write(descriptor, b"\n")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)

    def after(self, position: int) -> tuple[Wish, int] | None:
        """The next wish, and where it ends; the same one asked for again right behind it is fulfilled with it."""
        lines = self._read(position).splitlines(keepends=True)
        found: Wish | None = None
        for line in lines:
            wish = _parsed(line)
            if not line.endswith(b"\n") or (found and wish and wish != found):
                break
            found = found or wish
            position += len(line)
        return (found, position) if found else None

    def _read(self, position: int) -> bytes:
        try:
            with self._file.open("rb") as file:
                file.seek(position)
                return file.read()
        except FileNotFoundError:
            return b""


def _parsed(line: bytes) -> Wish | None:
    """None for a line that could not be written whole, on a full disk: its wish is lost, later ones are not."""
    try:
        return Wish.model_validate_json(line)
    except ValidationError:
        return None
