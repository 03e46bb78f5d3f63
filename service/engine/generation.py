"""The next generation: every wanted version checked and prepared before any worker loads it."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from service.engine import code, operators
from service.engine.cache import Cache
from service.engine.graph import Graph
from service.engine.manifest import Entry, Manifest, combined
from service.engine.measure import measure
from service.engine.model import Model
from service.engine.prepare import prepare
from service.engine.repository import Candidate, Refusal, scan
from service.engine.samples import Sample, read_golden
from service.engine.session import Compute
from service.engine.snapshot import snapshot
from service.engine.sources import Sources
from service.engine.warm_up import warm_up
from service.errors import RepositoryError

log = structlog.get_logger()

Progress = Callable[[str], None]

# How often a model lies in memory while its file is read, and while it is prepared and compared with the original.
_TO_READ: Final = 3
_TO_PREPARE: Final = 4


def make_generation(
    repository: Path,
    name: str | None,
    compute: Compute,
    cache: Cache,
    *,
    number: int,
    is_wanted: Callable[[str], bool] = lambda name: True,
    known: Iterable[Entry] = (),
    tolerate_failures: bool,
    transforms: bool = True,
    room: int | None = None,
    progress: Progress = lambda note: None,
) -> Manifest:
    """Load each wanted version once, warm it up and replay its golden samples. `progress` hears what is under way.

    `is_wanted` says which models are looked at. What is unchanged since it became one of `known` is not tried again.
    `transforms` says whether models may bring code; `room` is how many bytes of memory all that may take, None where
    nobody limits it.

    Raises RepositoryError, with every model that fails, unless `tolerate_failures`: then the manifest has the reasons.
    """
    entries: list[Entry] = []
    refusals: list[Refusal] = []
    for found in scan(repository, name):
        if not is_wanted(found.name):
            continue
        progress(f"preparing {found.name}")
        result = found if isinstance(found, Refusal) else _check(found, compute, cache, known, transforms, room)
        if isinstance(result, Refusal):
            refusals.append(result)
        else:
            entries.append(result)
    if refusals and not tolerate_failures:
        raise RepositoryError("; ".join(f"model {refusal.name!r}: {refusal.reason}" for refusal in refusals))
    for refusal in refusals:
        log.warning("model_refused", model=refusal.name, version=refusal.version, reason=refusal.reason)
    return Manifest(generation=number, entries=tuple(entries), refusals=tuple(refusals))


def _check(
    candidate: Candidate, compute: Compute, cache: Cache, known: Iterable[Entry], transforms: bool, room: int | None
) -> Entry | Refusal:
    started = time.perf_counter()
    try:
        _refuse_without_room((candidate.file,), _TO_READ, room)
        compute = compute.preferring(candidate.declaration.providers)
        sources = Sources(candidate.file.parent, candidate.root)
        folder = candidate.folder or candidate.file.parent
        beside = sources if folder == candidate.file.parent else Sources(folder, candidate.root)
        entry, samples = _read(candidate, sources, beside, compute, transforms)
        if unchanged := next((each for each in known if each.is_checked_form_of(entry)), None):
            return unchanged
        _refuse_without_room(entry.files, _TO_PREPARE, room)
        entry = entry.model_copy(update={"snapshot": snapshot(entry, cache)})
        entry = entry.model_copy(update={"prepared": prepare(entry, compute, cache, samples)})
        model = Model(entry, compute)
        warm_up(model, samples)
        entry = entry.model_copy(update={"findings": measure(model)})
        for each in (sources, beside):
            each.check_unchanged()
    except RepositoryError as error:
        return Refusal(name=candidate.name, version=candidate.version, reason=str(error))
    log.info(
        "model_checked",
        model=entry.name,
        version=entry.version,
        prepared=entry.prepared is not None,
        **entry.digests,
        **entry.findings.model_dump(),
        seconds=round(time.perf_counter() - started, 3),
    )
    return entry


def _read(
    candidate: Candidate, sources: Sources, beside: Sources, compute: Compute, transforms: bool
) -> tuple[Entry, list[Sample]]:
    """All that a version is made from, checked before anything is made of it. Raises RepositoryError.

    `beside` are the files that all versions of the model share.
    """
    content = sources.read(candidate.file)
    if candidate.golden:
        candidate.root.check(candidate.golden)
        sources.check_listed()
    facts = Graph(candidate.file, content).facts()
    samples = read_golden(candidate.golden, candidate.declaration.tolerance, sources.read)
    files = (candidate.file, *facts.external_files)
    transform = code.find(candidate.folder, candidate.declaration.transform, beside, files, transforms)
    entry = Entry(
        name=candidate.name,
        version=candidate.version,
        file=candidate.file,
        golden=candidate.golden,
        golden_digests=tuple(sample.digest for sample in samples),
        facts=facts,
        digest=combined([sources.digest(file) for file in files]),
        verified=sources.are_verified and (transform is None or beside.are_verified),
        operator_digests=operators.digests(candidate.declaration.session, compute.custom_operators),
        transform=transform,
        declaration=candidate.declaration,
    )
    return entry, samples


def _refuse_without_room(files: Iterable[Path], times: int, room: int | None) -> None:
    """Raises RepositoryError. Later the same would look like a file that is damaged, or be a death without a word."""
    needed = times * sum(file.stat().st_size for file in files)
    if room is not None and needed > room:
        raise RepositoryError(
            f"to check it takes about {needed >> 20} MiB of memory, and {room >> 20} MiB are left: "
            "raise the container's memory limit, or roll the service out anew"
        )
