"""Settings and a repository become a generation; a generation becomes a catalogue."""

from collections.abc import Iterable
from dataclasses import replace

import structlog

from service import memory
from service.access import KeysUnusable, read_clients
from service.engine.cache import Cache
from service.engine.catalogue import Catalogue
from service.engine.generation import Progress, make_generation
from service.engine.manifest import Entry, Manifest
from service.engine.model import Model
from service.engine.repository import Refusal, scan
from service.engine.session import Compute
from service.errors import RepositoryError
from service.plan import Plan, Weights, fit, memory_limit, plan_for_this_machine, with_bodies
from service.settings import Settings
from service.tensors import quote
from service.wishes import Wish

log = structlog.get_logger()


def first_generation(settings: Settings, number: int, progress: Progress = lambda note: None) -> Manifest:
    """What a start serves, and to whom. Blocks; raises StartError."""
    clients = read_clients(settings.access.keys)  # first: what is wrong with it shall not be said minutes later
    return prepare_generation(settings, number, progress=progress).model_copy(update={"clients": clients})


def prepare_generation(
    settings: Settings, number: int, *, only: str | None = None, progress: Progress = lambda note: None
) -> Manifest:
    """Check and prepare what the repository holds now, or `only` one model. Blocks; raises RepositoryError.

    One that is wanted and not there is an error.
    """
    manifest = make_generation(
        settings.repository.path,
        settings.repository.name,
        compute_for(settings),
        cache_of(settings),
        number=number,
        is_wanted=lambda name: only in (None, name),
        tolerate_failures=settings.repository.tolerate_failures,
        transforms=settings.repository.transforms,
        progress=progress,
    )
    path = settings.repository.path
    if not manifest.entries and only is None:
        log.warning("repository_empty", path=str(path), hint="put a model into <name>/1/model.onnx")
    if only is not None and not manifest.entries and not manifest.refusals:
        have = quote(sorted({found.name for found in scan(path, settings.repository.name)}))
        raise RepositoryError(f"there is no model {only!r} in {path}; it has {have}")
    return manifest


def prepare_successor(
    settings: Settings, committed: Manifest, wish: Wish, number: int, room: int | None = None
) -> Manifest:
    """What the next generation would be: what a wish concerns and the keys are read again, the rest stays. Blocks.

    A refusal without a name is that of the whole repository. `room` is as in `make_generation`.
    """
    clients = committed.clients
    try:
        clients = read_clients(settings.access.keys)
        fresh = make_generation(
            settings.repository.path,
            settings.repository.name,
            compute_for(settings),
            cache_of(settings),
            number=number,
            is_wanted=lambda name: is_read_again(name, committed, wish),
            known=committed.entries,
            tolerate_failures=True,
            transforms=settings.repository.transforms,
            room=room,
        )
    except (RepositoryError, KeysUnusable, MemoryError) as error:
        reason = str(error) or "the container's memory is too small to check the models beside those that are served"
        fresh = Manifest(generation=number, entries=(), refusals=(Refusal(name="", version=None, reason=reason),))
    return succeed(committed, fresh, wish).model_copy(update={"clients": clients})


def is_read_again(name: str, committed: Manifest, wish: Wish) -> bool:
    """Models that were taken out stay out until somebody loads them."""
    return wish.concerns(name) and (wish.kind == "load" or name not in committed.unloaded)


def succeed(committed: Manifest, fresh: Manifest, wish: Wish) -> Manifest:
    """`fresh` in place of what the wish concerns; a model of which something was refused stays as it was."""
    failed = {refusal.name for refusal in fresh.refusals}
    kept = [entry for entry in committed.entries if not wish.concerns(entry.name) or entry.name in failed]
    new = [entry for entry in fresh.entries if entry.name not in failed]
    earlier = [refusal for refusal in committed.refusals if not wish.concerns(refusal.name)]
    unloaded = set(committed.unloaded)
    if wish.kind == "unload":
        unloaded.add(wish.model)
    elif wish.kind == "load":
        unloaded.discard(wish.model)
    return committed.model_copy(
        update={
            "generation": fresh.generation,
            "entries": tuple(sorted((*kept, *new), key=lambda entry: (entry.name, entry.version))),
            "refusals": (*earlier, *fresh.refusals),
            "unloaded": tuple(sorted(unloaded)),
        }
    )


def cache_of(settings: Settings) -> Cache:
    return Cache(settings.cache.dir, settings.cache.keep_days)


def load(settings: Settings, manifest: Manifest, known: Iterable[Model] = ()) -> Catalogue:
    """Load, warm up and verify what is not `known`. Blocks; raises RepositoryError."""
    compute = compute_for(settings)
    if manifest.intra_op_threads:
        compute = replace(compute, intra_op_threads=manifest.intra_op_threads)
    try:
        return Catalogue.load(manifest, compute, known)
    finally:
        memory.give_back()


def compute_for(settings: Settings) -> Compute:
    """What a session may use, from the plan."""
    plan = plan_for_this_machine(settings.runtime)
    runtime = settings.runtime
    return Compute(plan.intra_op_threads, not plan.shares_cpus, runtime.providers, runtime.custom_operators)


def fitted(plan: Plan, settings: Settings, entries: Iterable[Entry]) -> Plan:
    """The plan, now that the models' weight is known. Raises DoesNotFit."""
    models, limit = weights(entries), memory_limit()
    return with_bodies(fit(plan, models, limit), settings.admission, models, limit)


def weights(entries: Iterable[Entry]) -> Weights:
    """What models weigh in memory: prepared ones are mapped once, others lie in each worker."""
    entries = tuple(entries)
    prepared = [place.glob("*") for place in {entry.prepared.parent for entry in entries if entry.prepared}]
    plain = [entry.files for entry in entries if not entry.prepared]
    return Weights(
        shared=sum(file.stat().st_size for files in prepared for file in files),
        private=sum(file.stat().st_size for files in plain for file in files),
    )
