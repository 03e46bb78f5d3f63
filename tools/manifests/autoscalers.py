"""What sets the number of pods: one alone, which asks about these pods and takes silence for no answer."""

import re
from collections.abc import Iterator
from typing import Any, Final

from tools.manifests.documents import Document, dig, of_kind, title
from tools.manifests.workload import Workload

_KINDS: Final = ("HorizontalPodAutoscaler", "ScaledObject")
# What a query says of the pods' names, in any of the quotes of PromQL.
_PODS: Final = re.compile(r"""\bpod\s*=~\s*(["'`])(.*?)\1""")
# What a Deployment's pods have behind its name.
_SUFFIX: Final = "6f4d9b7c58-x7k2p"


def autoscalers(workload: Workload) -> Iterator[Document]:
    """Those that set its number of pods."""
    for document in of_kind(workload.documents, *_KINDS):
        if _target(document) == workload.title:
            yield document


def _target(document: Document) -> str:
    target: Any = document["spec"]["scaleTargetRef"]
    return f"{target.get('kind', 'Deployment')}/{target['name']}"


def targets(workload: Workload) -> Iterator[str]:
    """A name that nobody has, as a `namePrefix` may leave it behind, scales nothing, and nothing says so."""
    known = [title(document) for document in workload.documents]
    for document in of_kind(workload.documents, *_KINDS):
        if (target := _target(document)) not in known:
            yield f"{title(document)} scales {target}, which is not among the documents"


def alone(workload: Workload) -> Iterator[str]:
    """One alone sets the replicas."""
    setters = [title(document) for document in autoscalers(workload)]
    if "replicas" in workload.rollout and workload.title.startswith("Deployment/") and setters:
        setters.append("spec.replicas")
    if len(setters) > 1:
        yield f"{' and '.join(setters)} set the number of pods, expected one: they would undo each other's work"


def query(workload: Workload) -> Iterator[str]:
    """Kustomize fills namespaces and names in everywhere but in a query, and without a namespace all are asked for."""
    for document, metadata in _triggers(workload):
        namespace, asked = document["metadata"].get("namespace", "default"), metadata.get("query", "")
        if asked and f'namespace="{namespace}"' not in asked:
            yield f"{title(document)} is in {namespace!r} and asks for another, or for all: {asked}"
        pod = f"{document['spec']['scaleTargetRef']['name']}-{_SUFFIX}"
        for _, names in _PODS.findall(asked) if _target(document) == workload.title else ():
            if not _matches(names, pod):
                yield f"{title(document)} asks for pods that match {names!r}, and its own are called {pod}"


def _matches(names: str, pod: str) -> bool:
    try:
        return bool(re.fullmatch(names.replace("\\\\", "\\"), pod))
    except re.error:  # Go knows some that Python does not
        return True


def silence(workload: Workload) -> Iterator[str]:
    """When scrapes fail the query finds nothing: for KEDA that is 0, unless it is told otherwise, and pods go."""
    for document, metadata in _triggers(workload):
        if "query" in metadata and str(metadata.get("ignoreNullValues", True)).lower() != "false":
            yield (
                f"{title(document)} takes an empty answer for 0 and would remove pods: "
                'expected ignoreNullValues: "false" beside the query'
            )


def container(workload: Workload) -> Iterator[str]:
    """One that asks about a container that is not there never learns anything."""
    known = [each["name"] for each in workload.pod["containers"]]
    for document, name in _watched(workload):
        if name not in known:
            yield f"{title(document)} watches container {name!r}, expected one of the pod's: {', '.join(known)}"


def _watched(workload: Workload) -> Iterator[tuple[Document, str]]:
    for document in autoscalers(workload):
        for metric in document["spec"].get("metrics", ()):
            if name := dig(metric, "containerResource", "container"):
                yield document, name
    for document, metadata in _triggers(workload):
        if name := metadata.get("containerName"):
            yield document, name


def _triggers(workload: Workload) -> Iterator[tuple[Document, Document]]:
    """Each trigger's metadata, with the ScaledObject that it is in."""
    for document in of_kind(workload.documents, "ScaledObject"):
        for trigger in document["spec"].get("triggers", ()):
            yield document, trigger.get("metadata") or {}


CHECKS: Final = (targets, alone, query, silence, container)
