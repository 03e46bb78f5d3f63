"""`SHA256SUMS`, as `sha256sum` writes it: what the files in its folder and below must be."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from service.engine import places
from service.engine.places import Root
from service.errors import RepositoryError

FILE: Final = "SHA256SUMS"
MOST: Final = 16 << 20
# An asterisk says that the file was read as binary, which makes no difference; a backslash in front, that the name has
# escapes in it.
_LINE: Final = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *]([^\r\0]+)")
_ESCAPED: Final = re.compile(r"(?:[^\\]|\\[\\nr])+")
_ESCAPES: Final = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
# Of a digest, as much as tells two of them apart.
_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class Checksums:
    """One such file: the digest of each path that it lists."""

    file: Path
    digests: dict[Path, str]

    @classmethod
    def read(cls, file: Path, read: places.Read = places.read) -> "Checksums":
        """Raises RepositoryError as `parse` does."""
        listed = parse(read(file, MOST), str(file))
        return cls(file, {file.parent / path: digest for path, digest in listed.items()})

    def check(self, file: Path, digest: str) -> None:
        """Raises RepositoryError where `file` is not listed, or with another digest."""
        wanted = self.digests.get(file)
        if wanted is None:
            raise RepositoryError(f"{file} is not listed in {self.file}: {self._remedy(file)}")
        if wanted != digest:
            raise RepositoryError(
                f"{file} has SHA-256 {digest[:_SHORT]}..., {self.file} says {wanted[:_SHORT]}...: "
                f"copy the file again, or, if you have changed it yourself, {self._remedy(file)}"
            )

    def below(self, folder: Path) -> Iterator[Path]:
        """What it lists of a folder."""
        return (file for file in self.digests if file.is_relative_to(folder))

    def _remedy(self, file: Path) -> str:
        folder = self.file.parent
        names = sorted({*self.digests, file})
        shown = " ".join(str(name.relative_to(folder)) for name in names) if len(names) <= 4 else "..."
        return f"run `sha256sum {shown} > {FILE}` in {folder}"


def parse(content: bytes, shown: str) -> dict[PurePosixPath, str]:
    """The digest of each path in such a file, which may lie anywhere: `shown` is its path or its URL.

    Raises RepositoryError for a line that is none, and for a path that leads out of the folder.
    """
    lines = content.decode(errors="surrogateescape").removesuffix("\n").split("\n")
    digests: dict[PurePosixPath, str] = {}
    for number, line in enumerate(lines, 1):
        path, digest = _entry(shown, number, line)
        if path == PurePosixPath(FILE):  # as it was when it was begun: no list can know itself
            continue
        if digests.setdefault(path, digest) != digest:
            raise RepositoryError(f"{shown}: line {number} gives {path.name!r} another digest than a line before it")
    return digests


def checksums_over(folder: Path, root: Root) -> tuple[Checksums, ...]:
    """Those in a folder and in the ones above it, up to the repository's own: each of them counts."""
    found = []
    for place in root.up_from(folder):
        if os.path.lexists(place / FILE):  # a link that leads nowhere was put there by somebody, too
            found.append(Checksums.read(place / FILE, root.read))
    return tuple(found)


def _entry(shown: str, number: int, line: str) -> tuple[PurePosixPath, str]:
    match = _LINE.fullmatch(line)
    if not match or (match[1] and not _ESCAPED.fullmatch(match[3])):
        raise RepositoryError(
            f"{shown}: line {number} is {line[:100]!r}: expected 64 hexadecimal digits, two spaces and a file's name, "
            "as sha256sum writes it"
        )
    escaped, digest, name = match.groups()
    path = PurePosixPath(_unescaped(name) if escaped else name)
    if path.is_absolute() or ".." in path.parts:
        folder = shown.rpartition("/")[0] or "."
        raise RepositoryError(f"{shown}: line {number} names {name[:100]!r}: expected a file in {folder} or below")
    return path, digest.lower()


def _unescaped(name: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPES[match[0]], name)
