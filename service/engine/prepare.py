"""A model file becomes an optimised, pre-packed, mappable one in the cache.

ONNX Runtime writes the graph as it has optimised it, and the weights as its kernels want them, into files of their own.
Loading those again takes a fraction of the time, and all workers map the same pages: the weights lie in memory once.
The result fits only this CPU, this version of ONNX Runtime and these options, so all of them are part of its name.
"""

import hashlib
import json
import platform
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
import structlog

from service.engine import operators
from service.engine.cache import MODEL, WEIGHTS, Cache, CacheUnusable
from service.engine.declaration import SessionOptions
from service.engine.manifest import Entry
from service.engine.places import Stamp
from service.engine.samples import Golden, Sample, made_up
from service.engine.session import Compute, Session, session_options
from service.errors import RepositoryError
from service.tensors import Array, Tensors

log = structlog.get_logger()

# Raise it when what is written here changes its meaning.
_FORMAT: Final = 1
# Weights smaller than this stay in the graph, where a page of their own would cost more.
_MIN_BYTES: Final = 1024
_CPU_ONLY: Final = ("CPUExecutionProvider",)


def prepare(entry: Entry, compute: Compute, store: Cache, samples: Sequence[Sample] = ()) -> Path | None:
    """The prepared form of a version, made if the cache has none; None, with one warning, where it cannot be had."""
    if compute.providers != _CPU_ONLY:
        reason = f"it runs on {', '.join(compute.providers)}; packed weights are the CPU kernels' own"
        log.warning("not_prepared", model=entry.name, version=entry.version, reason=reason)
        return None
    key = key_of(entry, compute)
    if found := store.find(key):
        return found
    original = load_plain(entry, compute)  # a model that cannot be served at all is refused, not loaded plainly
    size = sum(file.stat().st_size for file in entry.files)
    try:
        with store.draft(key, size) as draft:
            _write(entry, compute, draft)
            _compare(entry, compute, original, draft / MODEL, samples)
    except (CacheUnusable, RepositoryError) as error:
        log.warning(
            "not_prepared",
            model=entry.name,
            version=entry.version,
            reason=str(error),
            cost=f"every worker keeps its own copy of the weights, {size >> 20} MiB, and starts slower",
        )
        return None
    return store.find(key)


def key_of(entry: Entry, compute: Compute) -> str:
    """Everything that a prepared model depends on."""
    facts = {
        "format": _FORMAT,
        "digest": entry.digest,
        "onnxruntime": ort.__version__,
        "cpu": _cpu(),
        "options": entry.declaration.session.model_dump(exclude={"intra_op_threads", "custom_operators"}),
        "custom_operators": entry.operator_digests,
        "providers": compute.providers,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def load_checked(entry: Entry, compute: Compute) -> Session:
    """A session over the file, if it still is what was checked. Raises RepositoryError.

    It is hashed before it is loaded, and must not have been touched between the two.
    """
    before = [Stamp.of(file) for file in entry.files]
    is_unchanged = entry.is_unchanged()
    session = load_plain(entry, compute) if is_unchanged else None
    if session is None or [Stamp.of(file) for file in entry.files] != before:
        raise RepositoryError(f"{entry.file} has changed since it was checked; restart the service to check it again")
    return session


def load_plain(entry: Entry, compute: Compute) -> Session:
    """A session over the file as it is. Raises RepositoryError."""
    options = _options(entry.file, entry, entry.declaration.session, compute)
    return Session(entry.file, entry.facts, options, compute.providers)


def load_prepared(model: Path, entry: Entry, compute: Compute) -> Session:
    """A session over the prepared form, which is not optimised again. Raises RepositoryError."""
    declared = entry.declaration.session.model_copy(update={"graph_optimization": "disabled"})
    options = _options(model, entry, declared, compute)
    return Session(model, entry.facts, options, compute.providers, prepared=True)


def _options(path: Path, entry: Entry, declared: SessionOptions, compute: Compute) -> ort.SessionOptions:
    """Raises RepositoryError where a library of custom operators is another one than the model was checked with."""
    if operators.digests(declared, compute.custom_operators) != entry.operator_digests:
        raise RepositoryError(
            f"{', '.join(declared.custom_operators)} has changed since {entry.file} was checked with it; "
            "restart the service to check it again"
        )
    return session_options(path, declared, compute)


@cache
def _cpu() -> str:
    """The architecture and the instruction sets that kernels choose by."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {' '.join(sorted(flags.partition(':')[2].split()))}"


def _write(entry: Entry, compute: Compute, draft: Path) -> None:
    options = _options(entry.file, entry, entry.declaration.session, compute)
    options.optimized_model_filepath = str(draft / MODEL)
    for name, value in (
        ("optimized_model_external_initializers_file_name", WEIGHTS),
        ("optimized_model_external_initializers_min_size_in_bytes", str(_MIN_BYTES)),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(f"session.{name}", value)
    Session(entry.file, entry.facts, options, compute.providers)


def _compare(entry: Entry, compute: Compute, original: Session, model: Path, samples: Sequence[Sample] = ()) -> None:
    """Run both forms on the same inputs. Raises RepositoryError where they differ by a bit, or the model by itself."""
    prepared = load_prepared(model, entry, compute)
    if prepared.signature != original.signature:
        raise RepositoryError("the optimised model has another signature")
    for tensors in _inputs(samples, original):
        wanted = _outcome(original, tensors)
        if not _equal(wanted, _outcome(original, tensors)):
            raise RepositoryError("the model answers the same input differently each time, so nothing can be compared")
        if not _equal(wanted, _outcome(prepared, tensors)):
            raise RepositoryError("the optimised model answers differently")


def _inputs(samples: Sequence[Sample], session: Session) -> Iterator[Tensors]:
    recorded = [sample.inputs for sample in samples if isinstance(sample, Golden)]
    yield from recorded or made_up(session.signature)


def _outcome(session: Session, tensors: Tensors) -> list[Array] | None:
    """What comes out; None where the model refuses the input, which both forms may do alike."""
    try:
        return session.run(tensors, session.signature.output_names)
    except Exception:
        return None


def _equal(one: list[Array] | None, other: list[Array] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(one, other, strict=True))
