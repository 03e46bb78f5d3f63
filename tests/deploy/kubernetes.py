"""Manifests, rendered by the real program, and the programs that judge them."""

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from tests.deploy.programs import program
from tools.manifests.documents import Document, read

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("overlays/dev", "overlays/prod", "overlays/gpu", "kserve")
SECONDS = 120
"""How long a program may take before the test fails; none is expected to come near it."""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


@cache
def rendered(directory: Path) -> str:
    """What `kubectl kustomize` makes of it."""
    done = run(program("kubectl"), "kustomize", directory)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def overlay(name: str) -> list[Document]:
    return read(rendered(K8S / name))


def with_components(
    folder: Path, components: Iterable[str], namespace: str = "theirs", resources: Iterable[str] = (), more: str = ""
) -> list[Document]:
    """An overlay that somebody wrote: the base, components, in a namespace of their own, and `more` fields."""
    components = list(components)
    if "model-from-storage" in components and not more:
        more = 'configMapGenerator: [{name: onnicorn-source, literals: ["MODEL_URL=s3://theirs/models"]}]\n'
    up = os.path.relpath(K8S, folder.resolve())
    listed = [f"{up}/components/{component}" for component in components]
    (folder / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"{f'namespace: {namespace}' if namespace else ''}\n"
        f"resources: {json.dumps([f'{up}/base', *resources])}\ncomponents: {json.dumps(listed)}\n{more}"
    )
    return read(rendered(folder))


def the(documents: Sequence[Document], kind: str) -> Document:
    """The only one of its kind."""
    (found,) = [document for document in documents if document["kind"] == kind]
    return found
