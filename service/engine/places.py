"""Where a file of a model repository may lie, and how it is opened.

Whoever fills a repository is not trusted to name files outside of it: a link inside is followed, one that leads out is
refused. What is no regular file is refused before it is read, since a FIFO would hold up the start for ever.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from service.errors import RepositoryError

# A file's content, of up to so many bytes.
Read = Callable[[Path, int], bytes]


@dataclass(frozen=True, slots=True)
class Root:
    """The directory below which everything must lie that is read; links are followed, those in its own path too.

    `other` is a second one, for a file that is a repository by itself: where it lies, behind the link that it is.
    """

    path: Path
    other: Path | None = None

    @classmethod
    def of_file(cls, file: Path) -> "Root":
        return cls(file.parent, Path(os.path.realpath(file)).parent)

    def check(self, place: Path) -> None:
        """Raises RepositoryError for what lies outside, wherever its path seems to lead."""
        self._refuse_outside(place, Path(os.path.realpath(place)))

    def open(self, file: Path) -> BufferedReader:
        """As `open_regular`. A link that takes the file's place after the check is found by what was opened."""
        self.check(file)
        stream = open_regular(file)
        try:
            self._refuse_outside(file, _where_opened(file, stream))
        except RepositoryError:
            stream.close()
            raise
        return stream

    def read(self, file: Path, most: int) -> bytes:
        """The content of a regular file of up to `most` bytes. Raises RepositoryError."""
        with self.open(file) as stream:
            return read_opened(file, stream, most)

    def _refuse_outside(self, place: Path, real: Path) -> None:
        if not any(real.is_relative_to(os.path.realpath(each)) for each in (self.path, self.other) if each):
            raise RepositoryError(
                f"{place} leads out of the repository {self.path}, to {real}: copy it to where the link is"
            )

    def up_from(self, folder: Path) -> list[Path]:
        """`folder` and those that it lies in, up to and including the root itself."""
        above = [folder, *folder.parents]
        return above[: above.index(self.path) + 1] if self.path in above else [folder]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when somebody writes to a file, or puts another in its place."""

    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, file: Path) -> "Stamp":
        """Raises RepositoryError for a file that is gone."""
        try:
            return cls._from(file.stat())
        except OSError as error:
            raise unreadable(file, error) from None

    @classmethod
    def of_opened(cls, stream: BufferedReader) -> "Stamp":
        return cls._from(os.fstat(stream.fileno()))

    @classmethod
    def _from(cls, status: os.stat_result) -> "Stamp":
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def open_regular(file: Path) -> BufferedReader:
    """Raises RepositoryError for what is not there, cannot be read, or is no regular file; never blocks."""
    try:
        _check_regular(file, file.stat())  # to open some devices has an effect already
        stream = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb")
    except OSError as error:
        raise unreadable(file, error) from None
    try:
        _check_regular(file, os.fstat(stream.fileno()))
    except RepositoryError:
        stream.close()
        raise
    return stream


def _where_opened(file: Path, stream: BufferedReader) -> Path:
    """Where it really lies, whatever its path leads to by now; only Linux tells."""
    try:
        return Path(f"/proc/self/fd/{stream.fileno()}").readlink()
    except FileNotFoundError:
        return Path(os.path.realpath(file))


def read(file: Path, most: int) -> bytes:
    """The content of a regular file of up to `most` bytes. Raises RepositoryError."""
    with open_regular(file) as stream:
        return read_opened(file, stream, most)


def read_opened(file: Path, stream: BufferedReader, most: int | None) -> bytes:
    """What `open_regular` has opened, of up to `most` bytes where there is a limit."""
    if most is not None and os.fstat(stream.fileno()).st_size > most:
        raise RepositoryError(f"{file} is larger than {most >> 20} MiB, the most that is read of such a file")
    try:
        return stream.read()
    except OSError as error:
        raise unreadable(file, error) from None


def unreadable(file: Path, error: OSError) -> RepositoryError:
    return RepositoryError(f"{file} cannot be read: {error.strerror}")


def _check_regular(file: Path, status: os.stat_result) -> None:
    """Also says no to a directory, which could be opened."""
    if not stat.S_ISREG(status.st_mode):
        raise RepositoryError(f"{file} is not a regular file: copy a file there")
