"""The models that a worker has loaded: immutable, one per generation."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import structlog

from service.engine.manifest import Entry, Manifest
from service.engine.model import Model
from service.engine.repository import Refusal
from service.engine.session import Compute
from service.engine.warm_up import warm_up
from service.errors import ModelNotFound, ModelNotReady, RepositoryError, VersionNotFound

log = structlog.get_logger()


class Catalogue:
    """Models by name and version. A reload builds another catalogue; this one never changes."""

    def __init__(
        self,
        generation: int,
        models: Iterable[Model],
        refusals: Iterable[Refusal] = (),
        unloaded: Iterable[str] = (),
    ) -> None:
        versions: dict[str, dict[int, Model]] = {}
        for model in models:
            versions.setdefault(model.name, {})[model.version] = model
        self.generation = generation
        self.refusals = tuple(refusals)
        self.unloaded = tuple(unloaded)
        self._versions: Mapping[str, Mapping[int, Model]] = MappingProxyType(versions)
        defaults = {name: _default(known) for name, known in versions.items()}
        self._defaults = {name: model for name, model in defaults.items() if model}

    @classmethod
    def load(cls, manifest: Manifest, compute: Compute, known: Iterable[Model] = ()) -> "Catalogue":
        """Load, warm up and check every entry. Blocks; raises RepositoryError at the first that fails.

        After that come the fallbacks, and what is wrong with any of them is said at once.

        `known` are models that are loaded already: one whose entry is the same is taken over.
        """
        models = []
        for entry in manifest.entries:
            model = next((model for model in known if model.entry == entry), None)
            if model is None:
                model = load_model(entry, compute)
            models.append(model)
        catalogue = cls(manifest.generation, models, manifest.refusals, manifest.unloaded)
        if wrong := [reason for model in models if (reason := catalogue._fallback_refusal(model))]:
            raise RepositoryError("; ".join(wrong))
        return catalogue

    @property
    def models(self) -> list[Model]:
        """Every version, sorted by name and number."""
        return [model for _, versions in sorted(self._versions.items()) for _, model in sorted(versions.items())]

    @property
    def names(self) -> list[str]:
        return sorted(self._versions)

    def versions(self, name: str) -> list[int]:
        return sorted(self._versions.get(name, ()))

    def resolve(self, name: str, version: str | None = None) -> Model:
        """The version asked for, or the default one. Raises ModelNotFound, VersionNotFound, ModelNotReady."""
        if version is None and (model := self._defaults.get(name)):
            return model
        versions = self._versions.get(name, {})
        for number, model in versions.items():
            if str(number) == version:
                return model
        for refusal in self.refusals:
            if refusal.name == name and (version is None or str(refusal.version or version) == version):
                raise ModelNotReady(name, "it could not be loaded; POST /v2/repository/index has the reason")
        if name not in self._versions:
            raise ModelNotFound(name)
        raise VersionNotFound(name, str(version), self.versions(name))

    def _fallback_refusal(self, model: Model) -> str | None:
        """It must be able to take every request of the model's. One that was refused itself is not missed."""
        name = model.declaration.fallback
        if name is None or any(refusal.name == name for refusal in self.refusals):
            return None
        fallback = self._defaults.get(name)
        if fallback is None or name == model.name:
            return f"model {model.name!r}: fallback {name!r}: expected another model, one that is served"
        if (fallback.signature.inputs, fallback.signature.outputs) != (model.signature.inputs, model.signature.outputs):
            wanted, got = _described(model), _described(fallback)
            return f"model {model.name!r}: fallback {name!r}: expected {wanted}, got {got}"
        return None


def load_model(entry: Entry, compute: Compute) -> Model:
    """Loaded, warmed up, and its golden samples replayed. Raises RepositoryError."""
    model = Model(entry, compute.preferring(entry.declaration.providers))
    warm_up(model)
    log.debug("model_loaded", model=entry.name, version=entry.version, prepared=model.is_prepared, **entry.digests)
    return model


def _described(model: Model) -> str:
    sides = (model.signature.inputs, model.signature.outputs)
    return " -> ".join(", ".join(f"{spec.name}: {spec}" for spec in specs) for specs in sides)


def _default(versions: Mapping[int, Model]) -> Model | None:
    """The declared default, else the highest; None where the declared one could not be loaded."""
    highest = max(versions)
    return versions.get(versions[highest].declaration.default_version or highest)
