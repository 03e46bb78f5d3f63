"""What runs the service: a Deployment, or a runtime of KServe with the model that uses it."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from service.cgroup import Cgroup
from service.plan import Plan, make_plan
from service.settings import PREFIX, Settings
from tools.manifests.documents import Document, dig, of_kind, quantity, title

# As many CPUs as no node has: the container's limit is what grants fewer.
_NODE_CPUS: Final = 1 << 20
# By this one KServe knows the container that serves.
_KSERVE: Final = "kserve-container"
# It gives the pods of a model this label.
_MODEL: Final = "serving.kserve.io/inferenceservice"


@dataclass(frozen=True)
class _Quota(Cgroup):
    """The control group that the container will be in."""

    granted: float | None = None

    def cpus(self) -> float | None:
        return self.granted


@dataclass(frozen=True)
class Workload:
    """`rollout` is what a Deployment says beside its pod, `documents` everything that was rendered with it."""

    title: str
    pod: Document
    container: Document
    settings: Settings
    rollout: Document
    documents: Sequence[Document]

    def limit(self, resource: str) -> float | None:
        written = dig(self.container, "resources", "limits", resource)
        return None if written is None else quantity(written)

    def plan(self) -> Plan | None:
        """What the service would make of the CPU limit; None where the node would decide."""
        cpus = self.limit("cpu")
        if cpus is None and self.settings.runtime.workers is None:
            return None
        return make_plan(self.settings.runtime, _Quota((), (), (), cpus), _NODE_CPUS)

    @property
    def labels(self) -> Document:
        """Those of its pods."""
        found: Document = dig(self.rollout, "template", "metadata", "labels", default={})
        return found

    def volume_at(self, path: Path, container: Document | None = None) -> Document | None:
        """The volume that the container that serves, or another one, has at the path or above it."""
        mounts = dig(container or self.container, "volumeMounts", default=[])
        mounts = [mount for mount in mounts if _is_at(str(path), mount)]
        name = max(mounts, key=lambda mount: len(mount["mountPath"]))["name"] if mounts else None
        volumes: list[Document] = dig(self.pod, "volumes", default=[])
        return next((volume for volume in volumes if volume["name"] == name), None)


def workloads(documents: Sequence[Document]) -> Iterator[Workload]:
    """Each one that runs this service: it has settings of ours. Raises SettingsError where they are wrong."""
    for name, pod, rollout in (*_deployments(documents), *_runtimes(documents)):
        for container in pod.get("containers", ()):
            variables = _variables(container, documents)
            if any(variable.startswith(PREFIX) for variable in variables):
                with _environment(variables):
                    settings = Settings.from_environment(os.environ)
                yield Workload(name, pod, container, settings, rollout, documents)


def _deployments(documents: Sequence[Document]) -> Iterator[tuple[str, Document, Document]]:
    for document in of_kind(documents, "Deployment"):
        spec = document["spec"]
        yield title(document), dig(spec, "template", "spec", default={}), spec


def _runtimes(documents: Sequence[Document]) -> Iterator[tuple[str, Document, Document]]:
    """The pod is the runtime's, with what the model's predictor says; KServe makes a Deployment of both."""
    runtimes = {
        each["metadata"]["name"]: each for each in of_kind(documents, "ServingRuntime", "ClusterServingRuntime")
    }
    for document in of_kind(documents, "InferenceService"):
        name, predictor = document["metadata"]["name"], document["spec"]["predictor"]
        if runtime := runtimes.get(dig(predictor, "model", "runtime", default="")):
            rollout = {
                "strategy": predictor.get("deploymentStrategy"),
                "replicas": predictor.get("minReplicas", 1),
                "template": {"metadata": {"labels": {_MODEL: name}}},
            }
            yield title(document), _pod(_filled_in(runtime["spec"], name), predictor), rollout


def _pod(runtime: Document, predictor: Document) -> Document:
    served = next(container for container in runtime["containers"] if container["name"] == _KSERVE)
    resources = dig(predictor, "model", "resources", default=served.get("resources"))
    return {**runtime, **predictor, "containers": [{**served, "resources": resources}]}


def _filled_in(runtime: Document, name: str) -> Document:
    """KServe's placeholder for the name of the model."""
    filled: Document = json.loads(json.dumps(runtime).replace("{{.Name}}", name))
    return filled


def _variables(container: Document, documents: Sequence[Document]) -> dict[str, str]:
    """The container's environment, as far as the documents have it: a Secret's content is not there, nor wanted."""
    maps = {document["metadata"]["name"]: document.get("data") or {} for document in of_kind(documents, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        given = maps.get(dig(source, "configMapRef", "name", default=""), {})
        found |= {f"{source.get('prefix', '')}{key}": value for key, value in given.items()}
    return found | {entry["name"]: entry["value"] for entry in container.get("env", ()) if "value" in entry}


@contextmanager
def _environment(variables: Mapping[str, Any]) -> Iterator[None]:
    """Settings are read from the process's own environment, so for a moment it is the container's."""
    ours = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(ours)


def _is_at(path: str, mount: Document) -> bool:
    return path == mount["mountPath"] or path.startswith(mount["mountPath"].rstrip("/") + "/")
