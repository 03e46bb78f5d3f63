"""What there is to say of a model: as a document for programs, and as lines for people."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import click

from service.cli.selection import Selection
from service.engine.graph import Graph
from service.engine.model import Model
from service.loading import weights
from service.plan import some
from service.settings import Settings
from service.tensors import FREE, TensorSpec

NO_REQUEST: Final = (
    "it does not run on made-up inputs: give it warm_up inputs in model.toml, or a golden sample, and there is a "
    "request to show"
)


def describe(model: Model, settings: Settings, selection: Selection, command: str | None) -> dict[str, Any]:
    """`command` calls the model."""
    entry = selection.entry
    memory = weights((entry,))
    return {
        "name": model.name,
        "version": model.version,
        "versions": selection.versions,
        "default_version": selection.default,
        "file": entry.file,
        **entry.digests,
        "file_bytes": sum(file.stat().st_size for file in entry.files),
        "memory_bytes": {"shared": memory.shared, "each_worker": memory.private},
        **asdict(Graph(entry.file).summary()),
        "inputs": [_tensor(spec) for spec in model.signature.inputs],
        "outputs": [_tensor(spec) for spec in model.signature.outputs],
        "free": _free(model),
        "providers": model.providers,
        "prepared": entry.prepared and entry.prepared.parent,
        "batching": _batching(model, settings),
        "transform": entry.transform and entry.transform.target,
        "golden": len(entry.golden_digests or ()),
        "command": command,
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "datatype": spec.datatype.name,
        "shape": spec.shape,
        "dimensions": spec.names,
        "labels": spec.labels,
    }


def _free(model: Model) -> dict[str, str]:
    """What -1 means, by the name of the dimension."""
    signature = model.signature
    meanings = {}
    for spec in (*signature.inputs, *signature.outputs):
        for axis, (name, size) in enumerate(zip(spec.names, spec.shape or (), strict=False)):
            if size == FREE and signature.batch and axis == 0:
                meanings[name] = "the batch axis: as many rows as a request brings"
            elif size == FREE and name:
                meanings.setdefault(name, "any size, the same wherever the name stands")
    return meanings


def _batching(model: Model, settings: Settings) -> dict[str, Any]:
    """What is in force: declared, set, or measured at warm-up."""
    return {
        "rows_together": model.batch_limit(settings.batching.max_rows),
        "rows_of_one_request": model.declaration.limits.max_rows,
        "linger_ms": settings.batching.linger_ms,
        "run_threads": model.declaration.run_threads,
        "inline_rows": model.findings.inline_rows,
        "pads": model.findings.pads,
        "row_seconds": model.findings.row_seconds,
    }


def text(document: dict[str, Any]) -> str:
    """The same for people; the command last, by itself, so that it can be copied."""
    width = max(len(label) for label, _ in _lines(document))
    lines = [f"{click.style(f'{label:<{width}}', bold=True)}  {said}" for label, said in _lines(document)]
    command = document["command"]
    end = ("Call it:", command) if command else (f"No example: {NO_REQUEST}",)
    return "\n".join((*lines, "", *end))


def _lines(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    others = [str(version) for version in document["versions"] if version != document["version"]]
    is_default = document["version"] == document["default_version"]
    yield "model", f"{document['name']}/{document['version']}" + (", served by default" if is_default else "")
    if others:
        yield "versions", f"{', '.join(others)} besides"
    yield "file", f"{document['file']}, {document['file_bytes']:,} bytes"
    yield "digest", document["digest"] + (", as SHA256SUMS has it" if document["verified"] else "")
    opsets = ", ".join(f"{domain} {version}" for domain, version in document["opsets"].items())
    yield "made by", f"{document['producer'] or 'nobody says'}; IR version {document['ir_version']}; opsets {opsets}"
    yield "parameters", f"{document['parameters']:,}"
    yield "operators", ", ".join(f"{count} {name}" for name, count in document["operators"].items())
    for side in ("inputs", "outputs"):
        for tensor in document[side]:
            yield side.removesuffix("s"), _said(tensor)
    for name, meaning in document["free"].items():
        yield "-1", f"{name!r} is {meaning}"
    yield from _served(document)


def _said(tensor: dict[str, Any]) -> str:
    sizes = "..." if tensor["shape"] is None else ",".join(map(str, tensor["shape"]))
    names = [name for name in tensor["dimensions"] if name]
    labels = f", {some(len(tensor['labels']), 'label')}" if tensor["labels"] else ""
    return f"{tensor['name']}: {tensor['datatype']}[{sizes}]" + (f" ({', '.join(names)})" if names else "") + labels


def _served(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    batching, memory = document["batching"], document["memory_bytes"]
    yield "runs on", ", ".join(document["providers"])
    yield "prepared", str(document["prepared"] or "no: each worker loads the file itself")
    yield "memory", f"{memory['shared']:,} bytes once for all workers, {memory['each_worker']:,} in each"
    rows, inline = batching["rows_together"], batching["inline_rows"]
    together = f"up to {rows} rows of several requests in one run" if rows > 1 else "each request runs by itself"
    yield "batching", together + (f"; up to {inline} rows run on the event loop" if inline else "")
    yield "limits", f"{batching['rows_of_one_request'] or 'any number of'} rows in one request"
    yield "transform", document["transform"] or "none"
    yield "golden", f"{some(document['golden'], 'recorded sample')}"
