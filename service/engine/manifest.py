"""One generation: which versions it is made of, where they lie, and what their bytes were when they were checked.

Workers load from a manifest only. So one that is started anew serves what was validated, whatever has happened to the
repository since.
"""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from service.engine.declaration import Declaration
from service.engine.graph import Facts
from service.engine.repository import Refusal
from service.errors import RepositoryError


class Findings(BaseModel):
    """What running a version has shown; see `engine/measure.py`.

    `together` says whether rows of different requests may meet, `batch_rows` how many in one run pay;
    `inline_rows` how many the event loop can run by itself; `pads` whether declared padding is worth it.
    """

    model_config = ConfigDict(frozen=True)

    together: bool = False
    batch_rows: int = 1
    inline_rows: int = 0
    pads: bool = False


class Entry(BaseModel):
    """One version that was checked: `digest` is that of `file` and its external files, `prepared` its prepared form."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: int
    file: Path
    golden: Path | None
    facts: Facts
    digest: str
    declaration: Declaration
    prepared: Path | None = None
    findings: Findings = Findings()

    def is_unchanged(self) -> bool:
        return digest((self.file, *self.facts.external_files)) == self.digest


class Manifest(BaseModel):
    """A numbered, validated set of model versions, and the threads that each worker gives a run, once that is known."""

    model_config = ConfigDict(frozen=True)

    generation: int
    entries: tuple[Entry, ...]
    refusals: tuple[Refusal, ...] = ()
    intra_op_threads: int | None = None

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        return cls.model_validate_json(file.read_bytes())

    def write(self, file: Path) -> None:
        """Appears whole or not at all."""
        draft = file.with_suffix(".draft")
        draft.write_text(self.model_dump_json())
        draft.rename(file)


def digest(files: tuple[Path, ...]) -> str:
    """SHA-256 in hexadecimal: of one file its own (what `sha256sum` prints), of several that of their digests."""
    digests = [file_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def file_digest(file: Path) -> str:
    """Raises RepositoryError for a file that cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RepositoryError(f"{file} cannot be read: {error.strerror}") from None
