"""The schemas of the operators' kinds: each of these slips would pass everything else."""

from typing import Any

import pytest

from tests.deploy import foreign
from tests.deploy.kubernetes import K8S
from tools.manifests.documents import Document, read

FILES = {
    "PodMonitor": "components/monitoring/podmonitor.yaml",
    "PrometheusRule": "monitoring/prometheusrule.yaml",
    "ScaledObject": "components/keda/scaledobject.yaml",
    "BackendConfig": "components/ingress-gke/backendconfig.yaml",
    "ServingRuntime": "kserve/servingruntime.yaml",
    "InferenceService": "kserve/inferenceservice.yaml",
}


def shipped(kind: str) -> Document:
    (document,) = read((K8S / FILES[kind]).read_text())
    return document


def test_every_kind_that_has_a_schema_is_shipped() -> None:
    assert FILES.keys() == foreign.KINDS


@pytest.mark.parametrize("kind", sorted(FILES))
def test_what_is_shipped_has_no_fault(kind: str) -> None:
    assert foreign.faults(shipped(kind)) == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "fault"),
    [
        ("PodMonitor", "spec.podMetricsEndpoints.0.filterRuning", True, "'filterRuning' was unexpected"),
        ("PodMonitor", "spec.podMetricsEndpoints.0.interval", "15", '"15" does not match'),
        ("PodMonitor", "apiVersion", "monitoring.coreos.com/v2", '"monitoring.coreos.com/v1" was expected'),
        ("PrometheusRule", "spec.groups.0.rules.0.expression", "up", "'expression' was unexpected"),
        ("ScaledObject", "spec.minReplicas", 2, "'minReplicas' was unexpected"),
        ("ScaledObject", "spec.triggers.0.metadata.threshold", 4, "is not valid under any of the schemas"),
        ("ScaledObject", "spec.triggers.1.metadata.container", "x", "is not valid under any of the schemas"),
        ("ServingRuntime", "spec.multimodel", False, "'multimodel' was unexpected"),
        ("InferenceService", "spec.predictor.strategy", {}, "'strategy' was unexpected"),
        ("InferenceService", "spec.predictor.deploymentStrategy.rollingUpdate.maxsurge", 1, "'maxsurge' was"),
        ("BackendConfig", "spec.healthCheck.path", "/", "'path' was unexpected"),
    ],
)
def test_a_field_that_is_misspelt_or_of_another_type_is_told(kind: str, path: str, value: Any, fault: str) -> None:
    document = shipped(kind)
    part: Any = document
    *outer, key = path.split(".")
    for name in outer:
        part = part[int(name) if name.isdigit() else name]
    part[key] = value
    (told,) = foreign.faults(document)
    assert fault in told
