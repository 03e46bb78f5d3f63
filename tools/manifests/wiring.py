"""What refers to what: ports, Services, namespaces, and the settings' ConfigMap."""

from collections.abc import Iterator, Sequence
from typing import Final

from service.settings import PREFIX
from tools.manifests.documents import Document, dig, of_kind, title
from tools.manifests.workload import Workload

_LOOPBACK: Final = ("127.", "localhost", "[::1]", "unix:")
# The cluster's own, as far as an overlay may bring one along.
_WITHOUT_NAMESPACE: Final = {
    *("Namespace", "ClusterServingRuntime", "PersistentVolume", "StorageClass", "PriorityClass", "IngressClass"),
    *("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"),
}


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


def services(workload: Workload) -> Iterator[str]:
    """Where none finds the pods, those that find nothing are told: others may be for pods that are not among these."""
    known = [workload.labels, *(_pod_labels(document) for document in workload.documents)]
    found = [each for each in of_kind(workload.documents, "Service") if dig(each, "spec", "selector")]
    ours = [each for each in found if each["spec"]["selector"].items() <= workload.labels.items()]
    for service in ours:
        yield from _lost_ports(service, workload.pod)
    yield from _ops_alone(ours, workload)
    for service in found if not ours else ():
        wanted = service["spec"]["selector"]
        if not any(wanted.items() <= labels.items() for labels in known):
            yield f"{title(service)} selects {wanted}, which no pod has as labels"


def _pod_labels(document: Document) -> Document:
    found: Document = dig(document, "spec", "template", "metadata", "labels", default={})
    return found


def _lost_ports(service: Document, pod: Document) -> Iterator[str]:
    declared = [port for container in pod["containers"] for port in container.get("ports", ())]
    known = [name for port in declared for name in (port.get("name"), port["containerPort"])]
    for target in _targets(service):
        if target not in known:
            yield f"{title(service)} sends to port {target!r}, which no container of the pod has"


def _ops_alone(services: Sequence[Document], workload: Workload) -> Iterator[str]:
    """One for scrapes may stand beside the one for requests, and not in its place."""
    api, ops = (bind.rpartition(":")[2] for bind in (workload.settings.http.bind, workload.settings.ops.bind))
    targets = {str(target) for service in services for target in _targets(service)}
    if targets and targets <= {"ops", ops}:
        yield (
            f"{' and '.join(map(title, services))} sends to the ops port alone, where no model answers: expected "
            f"targetPort {api} (ONNICORN_HTTP__BIND)"
        )


def _targets(service: Document) -> list[str | int]:
    return [port.get("targetPort", port["port"]) for port in service["spec"].get("ports", ())]


def namespaces(workload: Workload) -> Iterator[str]:
    """What a component adds is in the namespace of the kustomization that lists it, or in none."""
    own = {each["metadata"].get("namespace") for each in workload.documents if title(each) == workload.title}
    for document in workload.documents:
        namespace = document["metadata"].get("namespace")
        if document["kind"] not in _WITHOUT_NAMESPACE and namespace not in own:
            yield (
                f"{title(document)} is in namespace {namespace!r}: say `namespace:` in "
                "the kustomization that lists its component"
            )


def config_maps(workload: Workload) -> Iterator[str]:
    """A pod whose ConfigMap is missing waits for ever."""
    known = {document["metadata"]["name"] for document in of_kind(workload.documents, "ConfigMap")}
    for container in (*workload.pod.get("initContainers", ()), workload.container):
        for source in container.get("envFrom", ()):
            name = dig(source, "configMapRef", "name")
            if name is not None and name not in known and not dig(source, "configMapRef", "optional"):
                yield f"container {container['name']!r} wants ConfigMap {name!r}, which is not among the documents"


def said_elsewhere(workload: Workload) -> Iterator[str]:
    """What is in a Secret or in a field of the pod is not among the documents: another value would be held to be it."""
    for entry in workload.container.get("env", ()):
        if entry["name"].startswith(PREFIX) and "valueFrom" in entry:
            yield (
                f"{entry['name']} comes by valueFrom, so nobody can tell here whether it fits: expected its value, or "
                "a ConfigMap among the documents by envFrom"
            )


CHECKS: Final = (ports, services, namespaces, config_maps, said_elsewhere)
