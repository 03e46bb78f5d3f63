"""What the SHA256SUMS among the objects say of the others."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.engine.checksums import FILE, parse
from service.fetch.failures import FetchFailed, must_be
from service.fetch.store import Object


@dataclass(frozen=True, slots=True)
class Sums:
    """One of them: the digest that each path below its folder (`cat/1/`, or nothing) must have."""

    of: Object
    folder: str
    digests: Mapping[str, str]

    @classmethod
    def read(cls, of: Object, file: Path) -> "Sums":
        """Raises RepositoryError for a file that is none, FetchFailed for one that cannot be read."""
        with must_be("read", file):
            content = file.read_bytes()
        folder = of.path.removesuffix(FILE)
        return cls(of, folder, {f"{folder}{path}": digest for path, digest in parse(content, of.shown).items()})

    def covers(self, path: str) -> bool:
        return path.startswith(self.folder) and not is_sums(path)


def is_sums(path: str) -> bool:
    return path.rpartition("/")[2] == FILE


def check_lists(all_sums: Iterable[Sums], objects: Iterable[Object]) -> None:
    """Raises FetchFailed unless what is listed is there, and what is there is listed: known before anything is read."""
    there = {each.path: each for each in objects if not is_sums(each.path)}
    for sums in all_sums:
        if sums.of.is_kept and (missing := sorted(path for path in sums.digests.keys() - there if not is_sums(path))):
            raise FetchFailed(f"{sums.of.shown} lists {missing[0]!r}, which is not there: upload it")
        for path, each in there.items():
            if sums.covers(path) and path not in sums.digests:
                raise FetchFailed(
                    f"{each.shown} is not listed in {sums.of.shown}: add it there, as sha256sum writes it"
                )


def mismatch(all_sums: Iterable[Sums], each: Object, file: Path) -> str:
    """What a sentence about the file goes on with where it is not what they say. Raises FetchFailed if unreadable."""
    stating = [sums for sums in all_sums if each.path in sums.digests]
    if not stating:
        return ""
    with must_be("read", file), file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    for sums in stating:
        wanted = sums.digests[each.path]
        if digest != wanted:
            return f"has SHA-256 {digest[:12]}..., {sums.of.shown} says {wanted[:12]}..."
    return ""
