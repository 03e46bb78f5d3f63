"""How reloads have ended: a file for each, named by the position that its wish ends at."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

_PREFIX: Final = "reload-"
# Whoever waits for one reads it within milliseconds; only the last one is of interest for longer.
_KEPT: Final = 8


Result = Literal["committed", "refused", "aborted"]
RESULTS: Final[tuple[Result, ...]] = get_args(Result)


class Reason(BaseModel):
    """Why a model, one version of it, or (without a name) the whole reload was refused.

    `is_missing` says that the repository has no such model.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    version: int | None = None
    text: str
    is_missing: bool = False

    def of(self, model: str) -> "Reason":
        """The same about this model, where it names none."""
        return self if self.name else self.model_copy(update={"name": model})

    def __str__(self) -> str:
        return f"model {self.name!r}: {self.text}" if self.name else self.text


class Outcome(BaseModel):
    """`generation` is the one that is served afterwards, the new one or the same as before.

    `reasons` are those of this reload; `standing` what keeps models, since then or since earlier, from being served as
    they lie in the repository.
    """

    model_config = ConfigDict(frozen=True)

    result: Result
    generation: int
    reasons: tuple[Reason, ...] = ()
    standing: tuple[Reason, ...] = ()

    @property
    def reason(self) -> str:
        return "; ".join(map(str, self.reasons))


class Outcomes:
    """Those of one service, in its run directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def note(self, position: int, outcome: Outcome) -> None:
        """Appears whole; older ones go."""
        draft = self._directory / f"{_PREFIX}draft"
        draft.write_text(outcome.model_dump_json())
        draft.rename(self._directory / f"{_PREFIX}{position}.json")
        for _, file in sorted(self._files())[:-_KEPT]:
            file.unlink(missing_ok=True)

    def of(self, position: int) -> Outcome | None:
        """That of the wish that ends there: it may have been fulfilled together with later ones."""
        return next((_read(file) for end, file in sorted(self._files()) if end >= position), None)

    def last(self) -> Outcome | None:
        return next((_read(file) for _, file in sorted(self._files(), reverse=True)), None)

    def _files(self) -> Iterator[tuple[int, Path]]:
        for file in self._directory.glob(f"{_PREFIX}*.json"):
            yield int(file.stem.removeprefix(_PREFIX)), file


def _read(file: Path) -> Outcome:
    return Outcome.model_validate_json(file.read_bytes())
