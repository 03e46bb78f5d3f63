"""The next generation: every wanted version checked and prepared before any worker loads it."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from service.engine.cache import Cache
from service.engine.graph import Graph
from service.engine.manifest import Entry, Manifest, digest
from service.engine.measure import measure
from service.engine.model import Model
from service.engine.prepare import prepare
from service.engine.repository import Candidate, Refusal, scan
from service.engine.samples import read_golden
from service.engine.session import Compute
from service.errors import RepositoryError

log = structlog.get_logger()

Progress = Callable[[str], None]


def make_generation(
    repository: Path,
    name: str | None,
    compute: Compute,
    cache: Cache,
    *,
    number: int,
    only: str | None = None,
    tolerate_failures: bool,
    progress: Progress = lambda note: None,
) -> Manifest:
    """Load each wanted version once, warm it up and replay its golden samples. `progress` hears what is under way.

    `only` names the one model to look at.

    Raises RepositoryError, with every model that fails, unless `tolerate_failures`: then the manifest has the reasons.
    """
    entries: list[Entry] = []
    refusals: list[Refusal] = []
    for found in scan(repository, name):
        if only not in (None, found.name):
            continue
        progress(f"preparing {found.name}")
        result = found if isinstance(found, Refusal) else _check(found, compute, cache)
        if isinstance(result, Refusal):
            refusals.append(result)
        else:
            entries.append(result)
    if refusals and not tolerate_failures:
        raise RepositoryError("; ".join(f"model {refusal.name!r}: {refusal.reason}" for refusal in refusals))
    for refusal in refusals:
        log.warning("model_refused", model=refusal.name, version=refusal.version, reason=refusal.reason)
    if not entries and only is None:
        log.warning("repository_empty", path=str(repository), hint="put a model into <name>/1/model.onnx")
    return Manifest(generation=number, entries=tuple(entries), refusals=tuple(refusals))


def _check(candidate: Candidate, compute: Compute, cache: Cache) -> Entry | Refusal:
    started = time.perf_counter()
    try:
        facts = Graph(candidate.file).facts()
        entry = Entry(
            name=candidate.name,
            version=candidate.version,
            file=candidate.file,
            golden=candidate.golden,
            facts=facts,
            digest=digest((candidate.file, *facts.external_files)),
            declaration=candidate.declaration,
        )
        compute = compute.preferring(candidate.declaration.providers)
        samples = read_golden(entry.golden, entry.declaration.tolerance)
        entry = entry.model_copy(update={"prepared": prepare(entry, compute, cache, samples)})
        model = Model(entry, compute)
        model.warm_up(samples)
        entry = entry.model_copy(update={"findings": measure(model)})
    except RepositoryError as error:
        return Refusal(name=candidate.name, version=candidate.version, reason=str(error))
    log.info(
        "model_checked",
        model=entry.name,
        version=entry.version,
        digest=entry.digest,
        prepared=entry.prepared is not None,
        **entry.findings.model_dump(),
        seconds=round(time.perf_counter() - started, 3),
    )
    return entry
