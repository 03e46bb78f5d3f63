"""The files that a version is made from, each read as one that somebody else has put there.

What is computed with must be what was checked: a file is hashed while it is read, once, and must be the same file when
all is done.
"""

import hashlib
from pathlib import Path

from service.engine.checksums import checksums_over
from service.engine.places import Root, Stamp, read_opened, unreadable
from service.errors import RepositoryError


class Sources:
    """Files in one folder of a repository, or below it. Every method raises RepositoryError."""

    def __init__(self, folder: Path, root: Root) -> None:
        """`SHA256SUMS` there, and above it, is read at once."""
        self._folder = folder
        self._root = root
        self._checksums = checksums_over(folder, root)
        self._digests: dict[Path, str] = {}
        self._stamps: dict[Path, Stamp] = {}

    @property
    def are_verified(self) -> bool:
        """Is each file that was read listed in a SHA256SUMS? Where there is one, no other is read."""
        return bool(self._checksums)

    def read(self, file: Path, most: int | None = None) -> bytes:
        """The content, which is what `digest` tells of; at most so many bytes."""
        with self._root.open(file) as stream:
            stamp = Stamp.of_opened(stream)
            content = read_opened(file, stream, most)
        self._note(file, stamp, hashlib.sha256(content).hexdigest())
        return content

    def digest(self, file: Path) -> str:
        """SHA-256 in hexadecimal, of a file that need not fit into memory."""
        if file not in self._digests:
            with self._root.open(file) as stream:
                stamp = Stamp.of_opened(stream)
                try:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                except OSError as error:
                    raise unreadable(file, error) from None
            self._note(file, stamp, digest)
        return self._digests[file]

    def check_listed(self, *names: str) -> None:
        """All that a SHA256SUMS lists of the folder, or of these names in it, is there, and as it says."""
        places = [self._folder / name for name in names] or [self._folder]
        for checksums in self._checksums:
            for place in places:
                for file in checksums.below(place):
                    self.digest(file)

    def check_unchanged(self) -> None:
        """Nobody has written to what was read, or put another file in its place, since it was read first."""
        for file, stamp in self._stamps.items():
            if Stamp.of(file) != stamp:
                raise RepositoryError(
                    f"{file} has changed while it was checked: put a version there whole, then load it again"
                )

    def _note(self, file: Path, stamp: Stamp, digest: str) -> None:
        for checksums in self._checksums:
            checksums.check(file, digest)
        self._digests[file] = digest
        self._stamps.setdefault(file, stamp)
