"""What sets the number of pods: one alone, which asks about these pods and takes silence for no answer."""

from collections.abc import Iterator
from typing import Any, Final

from tools.manifests.documents import Document, dig, of_kind
from tools.manifests.workload import Workload


def autoscalers(workload: Workload) -> Iterator[Document]:
    """Those that set its number of pods."""
    for document in of_kind(workload.documents, "HorizontalPodAutoscaler", "ScaledObject"):
        target: Any = document["spec"]["scaleTargetRef"]
        if workload.title == f"{target.get('kind', 'Deployment')}/{target['name']}":
            yield document


def alone(workload: Workload) -> Iterator[str]:
    """One alone sets the replicas."""
    setters = [f"{document['kind']}/{document['metadata']['name']}" for document in autoscalers(workload)]
    if "replicas" in workload.rollout and workload.title.startswith("Deployment/") and setters:
        setters.append("spec.replicas")
    if len(setters) > 1:
        yield f"{' and '.join(setters)} set the number of pods, expected one: they would undo each other's work"


def query(workload: Workload) -> Iterator[str]:
    """Kustomize fills the namespace in everywhere but in a query."""
    for document, metadata in _triggers(workload):
        namespace, asked = document["metadata"].get("namespace", "default"), metadata.get("query", "")
        if "namespace=" in asked and f'namespace="{namespace}"' not in asked:
            yield f"ScaledObject/{document['metadata']['name']} is in {namespace!r} and asks for another: {asked}"


def silence(workload: Workload) -> Iterator[str]:
    """When scrapes fail the query finds nothing: for KEDA that is 0, unless it is told otherwise, and pods go."""
    for document, metadata in _triggers(workload):
        if "query" in metadata and str(metadata.get("ignoreNullValues", True)).lower() != "false":
            yield (
                f"ScaledObject/{document['metadata']['name']} takes an empty answer for 0 and would remove pods: "
                'expected ignoreNullValues: "false" beside the query'
            )


def container(workload: Workload) -> Iterator[str]:
    """One that asks about a container that is not there never learns anything."""
    known = [each["name"] for each in workload.pod["containers"]]
    for title, name in _watched(workload):
        if name not in known:
            yield f"{title} watches container {name!r}, expected one of the pod's: {', '.join(known)}"


def _watched(workload: Workload) -> Iterator[tuple[str, str]]:
    for document in autoscalers(workload):
        for metric in document["spec"].get("metrics", ()):
            if name := dig(metric, "containerResource", "container"):
                yield f"HorizontalPodAutoscaler/{document['metadata']['name']}", name
    for document, metadata in _triggers(workload):
        if name := metadata.get("containerName"):
            yield f"ScaledObject/{document['metadata']['name']}", name


def _triggers(workload: Workload) -> Iterator[tuple[Document, Document]]:
    """Each trigger's metadata, with the ScaledObject that it is in."""
    for document in of_kind(workload.documents, "ScaledObject"):
        for trigger in document["spec"].get("triggers", ()):
            yield document, trigger.get("metadata") or {}


CHECKS: Final = (alone, query, silence, container)
