"""What refers to what: ports, the settings' ConfigMap, and init containers in their order."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tools.manifests.documents import Document, dig, of_kind
from tools.manifests.workload import Workload

_LOOPBACK: Final = ("127.", "localhost", "[::1]", "unix:")
# A model must be there before it can be prepared.
_ORDER: Final = ("fetch", "prepare")
_WITHOUT_NAMESPACE: Final = ("Namespace", "ClusterServingRuntime")


def ports(workload: Workload) -> Iterator[str]:
    """Where the service listens is where the container says that it does, and others can reach it there."""
    declared = {port.get("name"): port["containerPort"] for port in workload.container.get("ports", ())}
    binds = {"http": ("HTTP", workload.settings.http.bind), "ops": ("OPS", workload.settings.ops.bind)}
    for name, (group, bind) in binds.items():
        port = bind.rpartition(":")[2]
        if bind.startswith(_LOOPBACK):
            yield f"ONNICORN_{group}__BIND is {bind}, which nobody outside the pod can reach: expected 0.0.0.0:{port}"
        elif str(declared.get(name)) != port:
            yield f"the container's port {name!r} is {declared.get(name)}, and ONNICORN_{group}__BIND is {bind}"


def namespaces(workload: Workload) -> Iterator[str]:
    """What a component adds is in the namespace of the kustomization that lists it, or in none."""
    own = {document["metadata"].get("namespace") for document in workload.documents if _is_ours(document, workload)}
    for document in workload.documents:
        namespace = document["metadata"].get("namespace")
        if document["kind"] not in _WITHOUT_NAMESPACE and namespace not in own:
            yield (
                f"{document['kind']}/{document['metadata']['name']} is in namespace {namespace!r}: say `namespace:` in "
                "the kustomization that lists its component"
            )


def _is_ours(document: Document, workload: Workload) -> bool:
    return f"{document['kind']}/{document['metadata']['name']}" == workload.title


def config_maps(workload: Workload) -> Iterator[str]:
    """A pod whose ConfigMap is missing waits for ever."""
    known = {document["metadata"]["name"] for document in of_kind(workload.documents, "ConfigMap")}
    for container in (*workload.pod.get("initContainers", ()), workload.container):
        for source in container.get("envFrom", ()):
            name = dig(source, "configMapRef", "name")
            if name is not None and name not in known and not dig(source, "configMapRef", "optional"):
                yield f"container {container['name']!r} wants ConfigMap {name!r}, which is not among the documents"


def order(workload: Workload) -> Iterator[str]:
    """Init containers run one after another, as they are listed."""
    names = [container["name"] for container in workload.pod.get("initContainers", ())]
    for first, then in pairwise(_ORDER):
        if first in names and then in names and names.index(first) > names.index(then):
            yield f"init container {then!r} runs before {first!r}: list their components the other way round"


CHECKS: Final = (ports, namespaces, config_maps, order)
