"""What each component promises, besides what holds for whatever is put together."""

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.deploy.kubernetes import K8S, overlay, rendered, the, with_components
from tools.manifests.__main__ import faults
from tools.manifests.documents import read
from tools.manifests.workload import workloads

GUIDE = (K8S / "README.md").read_text()


@pytest.mark.parametrize("source", ["model-from-volume", "model-from-storage"])
@pytest.mark.parametrize("order", [list, reversed])
def test_what_is_prepared_is_what_is_served_whatever_is_listed_first(
    tmp_path: Path, source: str, order: Callable[[list[str]], Iterable[str]]
) -> None:
    (found,) = workloads(with_components(tmp_path, order(["prepare", source])))
    prepare = found.pod["initContainers"][-1]
    assert prepare["command"] == ["onnicorn", "prepare"], "last, when the models are there"
    for path in (found.settings.repository.path, found.settings.cache.dir):
        volume = found.volume_at(path)
        assert volume
        assert found.volume_at(path, prepare) == volume


def test_models_of_the_image_are_prepared_where_they_are(tmp_path: Path) -> None:
    (found,) = workloads(with_components(tmp_path, ["prepare"]))
    (prepare,) = found.pod["initContainers"]
    assert [mount["name"] for mount in prepare["volumeMounts"]] == ["cache"]
    assert found.volume_at(found.settings.repository.path) is None


def test_where_models_are_fetched_to_is_where_the_service_looks(tmp_path: Path) -> None:
    documents = with_components(tmp_path, ["model-from-storage"])
    (found,) = workloads(documents)
    (fetch,) = found.pod["initContainers"]
    assert fetch["command"] == ["onnicorn", "fetch", "$(MODEL_URL)", str(found.settings.repository.path)]
    assert found.volume_at(found.settings.repository.path) == {"name": "models", "emptyDir": {"sizeLimit": "2Gi"}}


def test_the_guides_overlay_fetches_its_models(tmp_path: Path) -> None:
    (recipe,) = re.findall(r"```yaml\n(apiVersion: [^`]*namespace: shop\n.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(recipe.replace("../..", os.path.relpath(K8S, tmp_path.resolve())))
    documents = read(rendered(tmp_path))
    assert list(faults(documents)) == []
    (found,) = workloads(documents)
    assert {container["image"] for container in (*found.pod["initContainers"], found.container)} == {"your/onnicorn:7"}


def test_the_guides_storage_in_the_cluster_can_be_reached(tmp_path: Path) -> None:
    (recipe,) = re.findall(r"```yaml\n(configMapGenerator:.*?)```", GUIDE, re.DOTALL)
    documents = with_components(tmp_path, ["model-from-storage"], more=recipe)
    assert list(faults(documents)) == []
    (found,) = workloads(documents)
    (fetch,) = found.pod["initContainers"]
    source = fetch["envFrom"][0]["configMapRef"]["name"]
    (given,) = [document["data"] for document in documents if document["metadata"]["name"] == source]
    assert given == {"MODEL_URL": "s3://models/prices", "AWS_ENDPOINT_URL": "http://minio.minio.svc:9000"}
    (policy,) = [each["spec"] for each in documents if each["metadata"]["name"] == "onnicorn-to-storage"]
    assert policy["egress"][-1] == {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "minio"}}}],
        "ports": [{"protocol": "TCP", "port": 9000}],
    }


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


@pytest.mark.parametrize(
    ("component", "expected"),
    [("keda", ["asks for pods that match 'onnicorn-[^-]+-[^-]+', and its own"]), ("ingress", [])],
)
def test_a_prefix_to_all_names_leaves_nothing_behind_that_is_not_told(
    tmp_path: Path, component: str, expected: list[str]
) -> None:
    documents = with_components(tmp_path, [component], namespace="onnicorn", more="namePrefix: our-\n")
    told = [re.findall(r"asks for pods that .* its own|$", fault)[0] for fault in faults(documents)]
    assert told == expected, "kustomize cannot fill in the name in a query"
    names = [document["metadata"]["name"] for document in documents]
    assert [name for name in names if not name.startswith("our-")] == []


def test_keda_scales_the_deployment_by_what_waits() -> None:
    documents = overlay("overlays/prod")
    scaled = the(documents, "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"]["name"] == the(documents, "Deployment")["metadata"]["name"]
    assert [trigger["type"] for trigger in scaled["spec"]["triggers"]] == ["prometheus", "cpu"]
    # KEDA reads every value of a trigger as text.
    values = [value for trigger in scaled["spec"]["triggers"] for value in trigger["metadata"].values()]
    assert [value for value in values if not isinstance(value, str)] == []
