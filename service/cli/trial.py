"""The models as a start would take them: found, checked, prepared, then loaded all together as each worker does.

Each model is prepared in a process of its own, so that one that crashes is a finding, and the others are tried as well.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from service.cli.apart import Died, apart
from service.cli.findings import Finding, Findings, Level
from service.engine import pbtxt, triton
from service.engine.declaration import Declaration
from service.engine.manifest import Entry, Manifest
from service.engine.repository import Refusal, scan
from service.errors import RepositoryError
from service.loading import fitted, load, prepare_generation
from service.plan import plan_for_this_machine, some
from service.settings import Settings
from service.tensors import Signature

T = TypeVar("T")
Signatures = dict[str, dict[int, Signature]]


def try_models(findings: Findings, settings: Settings) -> None:
    """All of it; every model has a finding, and what has a config.pbtxt one for each thing that it sets."""
    with findings.about("repository"):
        names = sorted({found.name for found in scan(settings.repository.path, settings.repository.name)})
        findings.ok("repository", f"{settings.repository.path}: {some(len(names), 'model')}")
        manifest = _prepare(findings, settings, names)
        signatures = _load(findings, settings, manifest)
        with findings.about("plan"):
            for reason in fitted(plan_for_this_machine(settings.runtime), settings, manifest.entries).reasons:
                findings.ok("plan", reason)
        for name in names:
            _compare_with_triton(findings, settings, name, manifest, signatures.get(name, {}))


def _prepare(findings: Findings, settings: Settings, names: list[str]) -> Manifest:
    """What can be served, and what cannot."""
    wanted: list[str | None] = [*names] or [None]  # None asks for all, and it is said that there are none
    tried = [_prepare_one(findings, settings, name) for name in wanted]
    return Manifest(
        generation=1,
        entries=tuple(entry for manifest in tried for entry in manifest.entries),
        refusals=tuple(refusal for manifest in tried for refusal in manifest.refusals),
    )


def _prepare_one(findings: Findings, settings: Settings, name: str | None) -> Manifest:
    tolerant = settings.repository.model_copy(update={"tolerate_failures": True})
    lenient = settings.model_copy(update={"repository": tolerant})
    try:
        manifest = _apart(findings, partial(prepare_generation, lenient, 1, only=name), settings)
    except Died as error:
        # It would end the start's own child too, whatever is tolerated.
        findings.fail(name or "repository", str(error))
        return Manifest(generation=1, entries=(), refusals=(Refusal(name or "", None, str(error)),))
    for entry in manifest.entries:
        findings.ok(f"{entry.name}/{entry.version}", _told(entry))
    level = Level.WARN if settings.repository.tolerate_failures else Level.FAIL
    for refusal in manifest.refusals:
        subject = f"{refusal.name}/{refusal.version}" if refusal.version else refusal.name
        findings.add(Finding(level, subject, refusal.reason))
    return manifest


def _told(entry: Entry) -> str:
    done = ["found", "checked", "prepared" if entry.prepared else "not prepared", "run"]
    if entry.golden_digests:
        done.append(f"{some(len(entry.golden_digests), 'golden sample')} replayed")
    if entry.transform:
        done.append(f"{entry.transform.target} loaded")
    return ", ".join(done)


def _load(findings: Findings, settings: Settings, manifest: Manifest) -> Signatures:
    with findings.about("models"):
        signatures = _apart(findings, partial(_signatures, settings, manifest), settings)
        if count := len(manifest.entries):
            findings.ok("models", f"{some(count, 'version')} loaded and warmed up in one process, as each worker does")
        return signatures
    return {}


def _signatures(settings: Settings, manifest: Manifest) -> Signatures:
    signatures: Signatures = {}
    for model in load(settings, manifest).models:
        signatures.setdefault(model.name, {})[model.version] = model.signature
    return signatures


def _apart(findings: Findings, work: Callable[[], T], settings: Settings) -> T:
    result, heard = apart(partial(_overheard, work), settings.lifecycle.load_seconds)
    for finding in heard:
        findings.add(finding)
    return result


def _overheard(work: Callable[[], T]) -> tuple[T, list[Finding]]:
    with Findings().hearing() as heard:
        return work(), heard.all


def _compare_with_triton(
    findings: Findings, settings: Settings, name: str, manifest: Manifest, signatures: dict[int, Signature]
) -> None:
    file = _triton_file(settings.repository.path, name)
    if file is None:
        return
    declared = [entry.declaration for entry in manifest.entries if entry.name == name]
    served = triton.Served(
        name=name,
        declaration=declared[-1] if declared else Declaration(),
        signature=signatures[max(signatures)] if signatures else None,
        batching=settings.batching,
        admission=settings.admission,
    )
    try:
        remarks = triton.remarks(*pbtxt.read(file), served)
    except RepositoryError as error:
        findings.warn(name, str(error), "the file is ignored; model.toml declares what is needed")
        return
    for remark in remarks:
        level = Level.OK if remark.verdict is triton.Verdict.HONOURED else Level.WARN
        findings.add(Finding(level, f"{name} {pbtxt.FILE}", f"{remark.field}: {remark.verdict}", remark.text))


def _triton_file(repository: Path, name: str) -> Path | None:
    """Beside the versions of a model; the repository may be that model itself."""
    return next((file for folder in (name, ".") if (file := repository / folder / pbtxt.FILE).is_file()), None)
