"""Every wanted version is checked before any worker loads it; what passes makes the next generation's manifest."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from service.engine.catalogue import Catalogue
from service.engine.manifest import Entry, Manifest, digest, external_files
from service.engine.model import Model
from service.engine.repository import Candidate, Refusal, scan
from service.engine.session import Compute
from service.errors import RepositoryError

log = structlog.get_logger()

Progress = Callable[[str], None]


def prepare(
    repository: Path,
    name: str | None,
    compute: Compute,
    *,
    generation: int,
    tolerate_failures: bool,
    progress: Progress = lambda note: None,
) -> Manifest:
    """Load each wanted version once, warm it up and replay its golden samples. `progress` hears what is under way.

    Raises RepositoryError, with every model that fails, unless `tolerate_failures`: then the manifest has the reasons.
    """
    entries: list[Entry] = []
    refusals: list[Refusal] = []
    for found in scan(repository, name):
        progress(f"preparing {found.name}")
        result = found if isinstance(found, Refusal) else _check(found, compute)
        if isinstance(result, Refusal):
            refusals.append(result)
        else:
            entries.append(result)
    if refusals and not tolerate_failures:
        raise RepositoryError("; ".join(f"model {refusal.name!r}: {refusal.reason}" for refusal in refusals))
    for refusal in refusals:
        log.warning("model_refused", model=refusal.name, version=refusal.version, reason=refusal.reason)
    if not entries:
        log.warning("repository_empty", path=str(repository), hint="put a model into <name>/1/model.onnx")
    return Manifest(generation=generation, entries=tuple(entries), refusals=tuple(refusals))


def prepare_and_load(repository: Path, name: str | None, compute: Compute, *, tolerate_failures: bool) -> Catalogue:
    """For a process without a master: what it has checked it serves."""
    manifest = prepare(repository, name, compute, generation=1, tolerate_failures=tolerate_failures)
    return Catalogue.load(manifest, compute)


def _check(candidate: Candidate, compute: Compute) -> Entry | Refusal:
    started = time.perf_counter()
    try:
        weights = external_files(candidate.file)
        entry = Entry(
            name=candidate.name,
            version=candidate.version,
            file=candidate.file,
            golden=candidate.golden,
            external_files=weights,
            digest=digest((candidate.file, *weights)),
            declaration=candidate.declaration,
        )
        Model(entry, compute).warm_up()
    except RepositoryError as error:
        return Refusal(name=candidate.name, version=candidate.version, reason=str(error))
    log.info(
        "model_checked",
        model=entry.name,
        version=entry.version,
        digest=entry.digest,
        seconds=round(time.perf_counter() - started, 3),
    )
    return entry
