"""What each component promises, besides what holds for whatever is put together."""

import json
from pathlib import Path

from tests.deploy.kubernetes import K8S, overlay, the, with_components
from tools.manifests.workload import workloads


def test_models_are_fetched_before_they_are_prepared(tmp_path: Path) -> None:
    documents = with_components(tmp_path, ["prepare", "model-from-storage"])
    pod = the(documents, "Deployment")["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["initContainers"]] == ["fetch", "prepare"]


def test_where_models_are_fetched_to_is_where_the_service_looks(tmp_path: Path) -> None:
    documents = with_components(tmp_path, ["model-from-storage"])
    (found,) = workloads(documents)
    (fetch,) = found.pod["initContainers"]
    assert fetch["command"] == ["onnicorn", "fetch", "$(MODEL_URL)", str(found.settings.repository.path)]
    assert found.volume_at(str(found.settings.repository.path)) == {"name": "models", "emptyDir": {"sizeLimit": "2Gi"}}


READY = "/v2/health/ready"
ALB = "alb.ingress.kubernetes.io"


def test_balancers_that_go_to_pods_ask_whether_they_are_ready(tmp_path: Path) -> None:
    documents = with_components(tmp_path, ["ingress", "ingress-gke"])
    (found,) = workloads(documents)
    asked = the(documents, "BackendConfig")["spec"]["healthCheck"]
    assert (asked["requestPath"], asked["port"]) == (READY, found.container["ports"][0]["containerPort"])
    assert the(documents, "Ingress")["metadata"]["annotations"][f"{ALB}/healthcheck-path"] == READY
    assert f"`{READY}`" in (K8S.parent / "README.md").read_text(), "a path that the service has"
    used = json.loads(the(documents, "Service")["metadata"]["annotations"]["cloud.google.com/backend-config"])
    assert used == {"default": the(documents, "BackendConfig")["metadata"]["name"]}


def test_no_balancer_gives_up_before_the_longest_request_has_ended(tmp_path: Path) -> None:
    documents = with_components(tmp_path, ["ingress", "ingress-gke"])
    (found,) = workloads(documents)
    annotations, google = the(documents, "Ingress")["metadata"]["annotations"], the(documents, "BackendConfig")["spec"]
    patience = [
        int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]),
        int(annotations[f"{ALB}/load-balancer-attributes"].removeprefix("idle_timeout.timeout_seconds=")),
        google["timeoutSec"],
    ]
    lifecycle = found.settings.lifecycle
    assert min(patience) >= lifecycle.finish_seconds
    assert google["connectionDraining"]["drainingTimeoutSec"] >= lifecycle.drain_seconds + lifecycle.finish_seconds


def test_a_rollout_waits_for_the_balancer_where_the_overlay_has_its_namespace(tmp_path: Path) -> None:
    (tmp_path / "namespace.yaml").write_text((K8S / "overlays/prod/namespace.yaml").read_text())
    documents = with_components(tmp_path, ["ingress"], resources=["namespace.yaml"])
    assert the(documents, "Namespace")["metadata"]["labels"]["elbv2.k8s.aws/pod-readiness-gate-inject"] == "enabled"


def test_on_spot_nodes_everything_has_ended_before_they_go(tmp_path: Path) -> None:
    (found,) = workloads(with_components(tmp_path, ["spot"]))
    lifecycle = found.settings.lifecycle
    assert lifecycle.drain_seconds + lifecycle.finish_seconds < 15, "what GKE leaves a pod"
    assert found.pod["terminationGracePeriodSeconds"] < 30, "the notice"


def test_keda_scales_the_deployment_by_what_waits() -> None:
    documents = overlay("overlays/prod")
    scaled = the(documents, "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"]["name"] == the(documents, "Deployment")["metadata"]["name"]
    assert [trigger["type"] for trigger in scaled["spec"]["triggers"]] == ["prometheus", "cpu"]
    # KEDA reads every value of a trigger as text.
    values = [value for trigger in scaled["spec"]["triggers"] for value in trigger["metadata"].values()]
    assert [value for value in values if not isinstance(value, str)] == []
