"""One generation: which versions it is made of, where they lie, and what their bytes were when they were checked.

Workers load from a manifest only. So one that is started anew serves what was validated, whatever has happened to the
repository since.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from service.access import Clients
from service.engine.declaration import Declaration
from service.engine.graph import Facts
from service.engine.places import open_regular, unreadable
from service.engine.repository import Refusal
from service.errors import RepositoryError


class Findings(BaseModel):
    """What running a version has shown; see `engine/measure.py`.

    `together` says whether rows of different requests may meet, `batch_rows` how many in one run pay;
    `inline_rows` how many the event loop can run by itself; `pads` whether declared padding is worth it; `row_seconds`
    how long a row takes in a run of `batch_rows`, 0 where that is not known.
    """

    model_config = ConfigDict(frozen=True)

    together: bool = False
    batch_rows: int = 1
    inline_rows: int = 0
    pads: bool = False
    row_seconds: float = 0.0


class Code(BaseModel):
    """The code of a transform, for which `folder` is where `model.toml` lies.

    `target` is `transform.py`, and then `source` is its text; or `package.module:Class`. `digest` is that of the module
    alone; `files` are those beside `model.toml`, which it may read, with theirs.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    target: str
    digest: str
    source: str = ""
    files: tuple[tuple[Path, str], ...] = ()


class Entry(BaseModel):
    """One version that was checked: `digest` is that of `file` and its external files, `prepared` its prepared form.

    `snapshot` is the folder of copies that its transform reads.
    `golden_digests` are those of the samples that it was checked with; None where nobody has looked. `verified` says
    that a SHA256SUMS lists all of it; `operator_digests` are those of the libraries of custom operators that it uses.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    version: int
    file: Path
    golden: Path | None
    facts: Facts
    digest: str
    declaration: Declaration
    golden_digests: tuple[str, ...] | None = None
    verified: bool = False
    operator_digests: tuple[str, ...] = ()
    transform: Code | None = None
    prepared: Path | None = None
    snapshot: Path | None = None
    findings: Findings = Findings()

    @property
    def files(self) -> tuple[Path, ...]:
        """The model's own: what is loaded where there is no prepared form."""
        return (self.file, *self.facts.external_files)

    @property
    def digests(self) -> dict[str, Any]:
        """What tells it from others, for people and their tools."""
        digests: dict[str, Any] = {"digest": self.digest, "verified": self.verified}
        if self.operator_digests:
            digests["operator_digests"] = self.operator_digests
        if self.transform:
            digests["transform_digest"] = self.transform.digest
        return digests

    @property
    def cached(self) -> tuple[Path, ...]:
        """What it uses of the cache."""
        return tuple(place for place in (self.prepared, self.snapshot) if place)

    def is_unchanged(self) -> bool:
        return digest(self.files) == self.digest

    def is_checked_form_of(self, other: "Entry") -> bool:
        """Is `other`, of which only the files are known yet, the same version of the same bytes?"""
        return other == self.model_copy(update={"prepared": None, "snapshot": None, "findings": Findings()})


class Manifest(BaseModel):
    """A numbered, validated set of model versions.

    `unloaded` are models that lie in the repository and that somebody has taken out; `intra_op_threads` those that each
    worker gives a run, where memory has made the plan another one; `clients` may call, None where nobody needs a key.
    """

    model_config = ConfigDict(frozen=True)

    generation: int
    entries: tuple[Entry, ...]
    refusals: tuple[Refusal, ...] = ()
    unloaded: tuple[str, ...] = ()
    intra_op_threads: int | None = None
    clients: Clients | None = None

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        """Raises RepositoryError where it is not there any more."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise RepositoryError(f"{file} cannot be read: {error.strerror}") from None

    def write(self, file: Path) -> None:
        """Appears whole or not at all."""
        draft = file.with_suffix(".draft")
        draft.write_text(self.model_dump_json())
        draft.rename(file)


def digest(files: tuple[Path, ...]) -> str:
    """SHA-256 in hexadecimal: of one file its own (what `sha256sum` prints), of several that of their digests."""
    return combined([file_digest(file) for file in files])


def combined(digests: Sequence[str]) -> str:
    """Of one file's digest itself, of several that of their digests."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def file_digest(file: Path) -> str:
    """Raises RepositoryError for a file that cannot be read."""
    with open_regular(file) as stream:
        try:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(file, error) from None
