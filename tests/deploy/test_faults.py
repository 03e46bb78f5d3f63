"""Each number that could be changed in an overlay so that it agrees with the others no longer: the tool tells."""

import re
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest

from tests.deploy.kubernetes import ROOT
from tools.manifests.__main__ import faults
from tools.manifests.documents import Document, Unreadable, quantity, read

SETTINGS = {
    "ONNICORN_HTTP__BIND": "0.0.0.0:8000",
    "ONNICORN_OPS__BIND": "0.0.0.0:8002",
    "ONNICORN_CACHE__DIR": "/cache",
    "ONNICORN_RUN__DIR": "/run/service",
    "ONNICORN_ADMISSION__MAX_BYTES": str(64 << 20),
    "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "10",
    "ONNICORN_LIFECYCLE__FINISH_SECONDS": "20",
    "ONNICORN_LIFECYCLE__LOAD_SECONDS": "60",
}
GOOD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: ns}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: service, namespace: ns}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata: {labels: {app: service}}
    spec:
      terminationGracePeriodSeconds: 40
      containers:
        - name: service
          envFrom: [{configMapRef: {name: settings}}]
          ports: [{name: http, containerPort: 8000}, {name: ops, containerPort: 8002}]
          startupProbe: {httpGet: {path: /startupz, port: ops}, periodSeconds: 2, failureThreshold: 60}
          readinessProbe: {httpGet: {path: /readyz, port: ops}, periodSeconds: 2, failureThreshold: 2}
          livenessProbe: {httpGet: {path: /livez, port: 8002}, periodSeconds: 5, timeoutSeconds: 2}
          resources: {limits: {cpu: 2, memory: 512Mi}}
          securityContext: {readOnlyRootFilesystem: true}
          volumeMounts: [{name: run, mountPath: /run}, {name: cache, mountPath: /cache}]
      volumes:
        - {name: run, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
        - {name: cache, emptyDir: {}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: service, namespace: ns}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: service}}}
"""
INGRESS = "kind: Ingress\nmetadata: {name: outside, namespace: ns, annotations: %s}\n"
HPA = (
    "kind: HorizontalPodAutoscaler\nmetadata: {name: service, namespace: ns}\n"
    "spec: {minReplicas: %s, scaleTargetRef: {kind: Deployment, name: service}}\n"
)

WANTING = {"name": "a", "envFrom": [{"configMapRef": {"name": "b"}}]}
GONE = object()
"""In place of a value: the key is taken out."""


def with_settings(values: Mapping[str, str]) -> list[Document]:
    documents = read(GOOD)
    documents[0]["data"] = {**SETTINGS, **values}
    return documents


def of(documents: list[Document]) -> dict[str, Any]:
    """The parts that tests change, by short names."""
    deployment = documents[1]["spec"]
    pod = deployment["template"]["spec"]
    return {
        "deployment": deployment,
        "pod": pod,
        "container": pod["containers"][0],
        "run": pod["volumes"][0]["emptyDir"],
        "cache": pod["volumes"][1]["emptyDir"],
        "budget": documents[2]["spec"],
    }


def change(parts: dict[str, Any], path: str, value: Any) -> None:
    *outer, key = re.split(r"\.(?!com/)", path)
    for name in outer:
        parts = parts[name]
    if value is GONE:
        del parts[key]
    else:
        parts[key] = value


def told(documents: list[Document]) -> list[str]:
    return [fault.removeprefix("Deployment/service: ") for fault in faults(documents)]


def test_numbers_that_agree_are_no_fault() -> None:
    assert told(with_settings({})) == []


@pytest.mark.parametrize(
    ("variable", "value", "begins"),
    [
        ("LIFECYCLE__FINISH_SECONDS", "21", "terminationGracePeriodSeconds is 40, expected at least 41: drain"),
        ("LIFECYCLE__DRAIN_SECONDS", "9", "ONNICORN_LIFECYCLE__DRAIN_SECONDS is 9, expected at least 10"),
        ("LIFECYCLE__LOAD_SECONDS", "61", "startupProbe gives up after 2 x 60 = 120 s, expected at least 122"),
        ("ADMISSION__MAX_BYTES", "1048576", "ONNICORN_ADMISSION__MAX_BYTES is 1048576, expected at least"),
        ("ADMISSION__MAX_BYTES", str(160 << 20), "with bodies of ONNICORN_ADMISSION__MAX_BYTES (167772160) only"),
        ("RUNTIME__WORKERS", "3", "3 workers with 1 thread each want 3 CPUs, and the limit is 2"),
        ("RUN__DIR", "/cache", "ONNICORN_RUN__DIR (/cache) is on no emptyDir with medium Memory"),
        ("CACHE__DIR", "/run", "ONNICORN_CACHE__DIR (/run) is in memory"),
        ("CACHE__DIR", "/elsewhere", "ONNICORN_CACHE__DIR (/elsewhere) is on no volume"),
        ("HTTP__BIND", "127.0.0.1:8000", "ONNICORN_HTTP__BIND is 127.0.0.1:8000, which nobody outside"),
        ("HTTP__BIND", "0.0.0.0:80", "the container's port 'http' is 8000, and ONNICORN_HTTP__BIND is"),
        ("RUNTIME__PROVIDERS", "CUDAExecutionProvider", "ONNICORN_RUNTIME__PROVIDERS wants a device, and"),
        ("HTTP__KEEP_ALIVE", "60", "ONNICORN_HTTP__KEEP_ALIVE is not a setting; the nearest is"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_fit_is_told(variable: str, value: str, begins: str) -> None:
    (fault,) = told(with_settings({f"ONNICORN_{variable}": value}))
    assert fault[: len(begins)] == begins


LIMITS = "container.resources.limits"


@pytest.mark.parametrize(
    ("path", "value", "begins"),
    [
        ("pod.terminationGracePeriodSeconds", GONE, "terminationGracePeriodSeconds is 30, expected at least 40"),
        ("container.readinessProbe.failureThreshold", GONE, "ONNICORN_LIFECYCLE__DRAIN_SECONDS is 10, expected at"),
        ("container.startupProbe.failureThreshold", 59, "startupProbe gives up after 2 x 59 = 118 s, expected at"),
        ("deployment.progressDeadlineSeconds", 119, "progressDeadlineSeconds is 119, expected at least 120"),
        ("deployment.minReadySeconds", 481, "progressDeadlineSeconds is 600, expected at least 601"),
        ("container.livenessProbe.failureThreshold", 2, "livenessProbe gives up after 5 x 2 s, expected at least 15"),
        ("container.livenessProbe.timeoutSeconds", 1, "livenessProbe.timeoutSeconds is 1, expected at least 2"),
        ("container.livenessProbe.timeoutSeconds", 6, "livenessProbe.timeoutSeconds is 6, expected at most period"),
        ("container.livenessProbe.httpGet.port", "http", "livenessProbe asks /livez on port 8000, expected /livez"),
        ("container.livenessProbe.httpGet.path", "/readyz", "livenessProbe asks /readyz on port 8002, expected"),
        (f"{LIMITS}.memory", "300Mi", "with bodies of ONNICORN_ADMISSION__MAX_BYTES (67108864) only 1 worker"),
        (f"{LIMITS}.memory", "128Mi", "with bodies of ONNICORN_ADMISSION__MAX_BYTES (67108864) 1 worker cannot fit"),
        (f"{LIMITS}.memory", GONE, "there is no limit of memory"),
        (f"{LIMITS}.cpu", GONE, "there is no limit of CPU"),
        (f"{LIMITS}.nvidia.com/gpu", 1, "there is a device (nvidia.com/gpu), and none of ONNICORN_RUNTIME__PROVIDERS"),
        ("run.sizeLimit", GONE, "volume 'run' has no sizeLimit"),
        ("run.sizeLimit", "1Mi", "volume 'run' has sizeLimit 1Mi, expected at least 4Mi for the metric files of 4"),
        ("run.medium", GONE, "ONNICORN_RUN__DIR (/run/service) is on no emptyDir with medium Memory"),
        ("cache.medium", "Memory", "ONNICORN_CACHE__DIR (/cache) is in memory"),
        ("deployment.replicas", 1, "replicas is 1, expected at least 2"),
        ("deployment.strategy", GONE, "strategy.rollingUpdate.maxUnavailable is not 0"),
        ("deployment.strategy.type", "Recreate", "the strategy is not RollingUpdate"),
        ("deployment.strategy.rollingUpdate.maxSurge", 0, "strategy.rollingUpdate.maxSurge is 0"),
        ("budget.maxUnavailable", 0, "its PodDisruptionBudget lets no pod go"),
        ("budget.minAvailable", 2, "its PodDisruptionBudget keeps 2 of 2"),
        ("budget.selector.matchLabels", {"app": "x"}, "0 PodDisruptionBudgets select its pods"),
        ("pod.initContainers", [{"name": "prepare"}, {"name": "fetch"}], "init container 'prepare' runs before"),
        ("pod.initContainers", [WANTING], "container 'a' wants ConfigMap 'b', which is not among the documents"),
    ],
)  # fmt: skip
def test_a_number_that_does_not_fit_is_told(path: str, value: Any, begins: str) -> None:
    documents = with_settings({})
    change(of(documents), path, value)
    (fault,) = told(documents)
    assert fault[: len(begins)] == begins


def test_a_single_worker_may_have_a_device_to_itself() -> None:
    settings = {"ONNICORN_RUNTIME__PROVIDERS": "CUDAExecutionProvider", "ONNICORN_RUNTIME__WORKERS": "1"}
    documents = with_settings(settings)
    of(documents)["container"]["resources"]["limits"]["nvidia.com/gpu"] = 1
    assert told(documents) == []
    del documents[0]["data"]["ONNICORN_RUNTIME__WORKERS"]
    assert told(documents) == ["ONNICORN_RUNTIME__WORKERS is None, expected 1: one for each device"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (INGRESS % '{onnicorn/balancer-idle-seconds: "74"}', []),
        (
            INGRESS % '{onnicorn/balancer-idle-seconds: "75"}',
            [
                "ONNICORN_HTTP__KEEP_ALIVE_SECONDS is 75, expected more than the 75 s for which Ingress/outside keeps "
                "idle connections: else it sends a request into one that was just closed"
            ],
        ),
        (
            INGRESS % "{}",
            [
                "Ingress/outside has no annotation onnicorn/balancer-idle-seconds: say there how many seconds your "
                "balancer keeps an idle connection to a pod"
            ],
        ),
        (
            "kind: Secret\nmetadata: {name: keys}\n",
            [
                "Secret/keys is in namespace None: say `namespace:` in the kustomization that lists its component",
            ],
        ),
    ],
)
def test_what_stands_beside_the_pods_must_fit_too(document: str, expected: list[str]) -> None:
    assert told(with_settings({}) + read(document)) == expected


@pytest.mark.parametrize(
    ("least", "keeps_replicas", "expected"),
    [
        (2, False, []),
        (1, False, ["HorizontalPodAutoscaler.spec.minReplicas is 1, expected at least 2: a drained node would leave "
                    "nobody to answer"]),
        (2, True, ["HorizontalPodAutoscaler/service and spec.replicas set the number of pods, expected one: they would "
                   "undo each other's work"]),
    ],
)  # fmt: skip
def test_one_alone_sets_the_number_of_pods(least: int, keeps_replicas: bool, expected: list[str]) -> None:
    documents = with_settings({}) + read(HPA % least)
    if not keeps_replicas:
        del of(documents)["deployment"]["replicas"]
    assert told(documents) == expected


def test_a_query_about_another_namespace_is_told() -> None:
    scaled = (
        "kind: ScaledObject\nmetadata: {name: service, namespace: ns}\n"
        "spec: {minReplicaCount: 2, scaleTargetRef: {name: service}, triggers: [{metadata: {query: '%s'}}]}\n"
    )
    documents = with_settings({})
    del of(documents)["deployment"]["replicas"]
    assert told(documents + read(scaled % 'x{namespace="ns"}')) == []
    assert told(documents + read(scaled % 'x{namespace="other"}')) == [
        "ScaledObject/service is in 'ns' and asks for another: x{namespace=\"other\"}"
    ]


def test_the_environment_of_whoever_asks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNICORN_LIFECYCLE__FINISH_SECONDS", "3600")
    assert told(with_settings({})) == []


def test_a_list_is_its_items() -> None:
    documents = with_settings({})
    assert read(str({"kind": "List", "items": deepcopy(documents)})) == documents


def test_manifests_without_the_service_are_told() -> None:
    assert told([]) == ["no Deployment and no InferenceService has a container with ONNICORN_* settings"]


@pytest.mark.parametrize(("text", "expected"), [("1200m", 1.2), ("2", 2.0), ("1Ki", 1024.0), ("1k", 1000.0), (3, 3.0)])
def test_quantities_are_read_as_kubernetes_does(text: str | int, expected: float) -> None:
    assert quantity(text) == expected


@pytest.mark.parametrize("text", ["", "12x", "Mi"])
def test_what_is_no_quantity_is_told(text: str) -> None:
    with pytest.raises(Unreadable, match="expected a quantity such as 500m or 512Mi, got"):
        quantity(text)


@pytest.mark.parametrize(("text", "says"), [("a: [", "expected YAML"), ("- 1", "expected objects with a kind, got")])
def test_what_is_no_manifest_is_one_line_and_a_failure(text: str, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.manifests"], input=text, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(says)
