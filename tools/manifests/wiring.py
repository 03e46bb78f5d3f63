"""What refers to what: ports, the settings' ConfigMap, and init containers in their order."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tools.manifests.documents import dig, of_kind
from tools.manifests.workload import Workload

_LOOPBACK: Final = ("127.", "localhost", "[::1]", "unix:")
# A model must be there before it can be prepared.
_ORDER: Final = ("fetch", "prepare")


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


CHECKS: Final = (ports, config_maps, order)
