"""The model that a command is about: `digits` is the version that is served by default, `digits/2` that version."""

from dataclasses import dataclass

from service.engine.catalogue import load_model
from service.engine.manifest import Entry
from service.engine.model import Model
from service.errors import RepositoryError
from service.loading import compute_for, prepare_generation
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Selection:
    """One version, checked and prepared, among those of its model that are served."""

    entry: Entry
    versions: tuple[int, ...]
    default: int

    @property
    def is_default(self) -> bool:
        return self.entry.version == self.default


def select(settings: Settings, wanted: str) -> Selection:
    """Raises RepositoryError."""
    name, _, version = wanted.partition("/")
    served = {entry.version: entry for entry in prepare_generation(settings, number=1, only=name).entries}
    if not served:
        raise RepositoryError(f"model {name!r} cannot be served; the log above says why")
    highest = max(served)
    default = served[highest].declaration.default_version or highest
    for number, entry in served.items():
        if str(number) == (version or str(default)):
            return Selection(entry, tuple(served), default)
    raise RepositoryError(
        f"version {version!r} of model {name!r} is not served; those that are: {', '.join(map(str, served))} "
        "(versions in model.toml chooses)"
    )


def load(settings: Settings, entry: Entry) -> Model:
    """As a worker has it. Raises RepositoryError."""
    return load_model(entry, compute_for(settings))
