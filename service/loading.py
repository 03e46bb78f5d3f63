"""Settings and a repository become a generation; a generation becomes a catalogue."""

from dataclasses import replace
from pathlib import Path

from service import memory
from service.engine.cache import Cache
from service.engine.catalogue import Catalogue
from service.engine.generation import Progress, make_generation
from service.engine.manifest import Entry, Manifest
from service.engine.session import Compute
from service.plan import Weights, plan_for_this_machine
from service.settings import Settings


def prepare_generation(
    settings: Settings, number: int, *, only: str | None = None, progress: Progress = lambda note: None
) -> Manifest:
    """Check and prepare what the repository holds now, or `only` one model. Blocks; raises RepositoryError."""
    return make_generation(
        settings.repository.path,
        settings.repository.name,
        compute_for(settings),
        cache_of(settings),
        number=number,
        only=only,
        tolerate_failures=settings.repository.tolerate_failures,
        progress=progress,
    )


def cache_of(settings: Settings) -> Cache:
    return Cache(settings.cache.dir, settings.cache.keep_days)


def load(settings: Settings, manifest: Manifest) -> Catalogue:
    """Load, warm up and verify. Blocks; raises RepositoryError."""
    compute = compute_for(settings)
    if manifest.intra_op_threads:
        compute = replace(compute, intra_op_threads=manifest.intra_op_threads)
    try:
        return Catalogue.load(manifest, compute)
    finally:
        memory.give_back()


def compute_for(settings: Settings) -> Compute:
    """What a session may use, from the plan."""
    plan = plan_for_this_machine(settings.runtime)
    return Compute(plan.intra_op_threads, not plan.shares_cpus, settings.runtime.providers)


def weights(manifest: Manifest) -> Weights:
    """What a generation weighs in memory: prepared models are mapped once, others lie in each worker."""
    prepared = [place.glob("*") for place in {entry.prepared.parent for entry in manifest.entries if entry.prepared}]
    plain = [_files(entry) for entry in manifest.entries if not entry.prepared]
    return Weights(
        shared=sum(file.stat().st_size for files in prepared for file in files),
        private=sum(file.stat().st_size for files in plain for file in files),
    )


def _files(entry: Entry) -> tuple[Path, ...]:
    return (entry.file, *entry.facts.external_files)
