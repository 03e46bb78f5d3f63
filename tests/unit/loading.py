"""A tiny model on its way through the engine: an entry of a manifest, then a model."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import onnx

from service.engine.declaration import Declaration
from service.engine.graph import Graph
from service.engine.manifest import Code, Entry, Findings, digest
from service.engine.model import Model
from service.engine.session import Compute
from tests import tiny

NOTHING_FOUND = Findings()


def entry(proto: onnx.ModelProto, root: Path, name: str = "tiny", version: int = 1, **declared: Any) -> Entry:
    """Written below `root`; `declared` is what its `model.toml` would say."""
    return entry_of(tiny.write(proto, root, name, version), name, version, **declared)


def entry_of(file: Path, name: str = "tiny", version: int = 1, **declared: Any) -> Entry:
    """A file that lies there already."""
    facts = Graph(file).facts()
    return Entry(
        name=name,
        version=version,
        file=file,
        golden=file.parent / "golden",
        facts=facts,
        digest=digest((file, *facts.external_files)),
        declaration=Declaration.model_validate(declared),
    )


def transforming(source: str, proto: onnx.ModelProto, root: Path, **declared: Any) -> Model:
    """A model with this `transform.py` beside it; of which running it has shown that its rows go together."""
    checked = entry(proto, root, **declared)
    code = Code(folder=root / "tiny", target="transform.py", digest="", source=dedent(source))
    found = Findings(together=True, batch_rows=8)
    return Model(checked.model_copy(update={"transform": code, "findings": found}), Compute())


def load(
    proto: onnx.ModelProto,
    root: Path,
    name: str = "tiny",
    version: int = 1,
    findings: Findings = NOTHING_FOUND,
    **declared: Any,
) -> Model:
    """A model that is loaded and not warmed up, of which running it has shown `findings`."""
    checked = entry(proto, root, name, version, **declared)
    return Model(checked.model_copy(update={"findings": findings}), Compute())
