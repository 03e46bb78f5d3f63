"""What is shipped for Kubernetes, rendered by kubectl and judged by the programs that others judge it by."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from tests.deploy import foreign
from tests.deploy.kubernetes import K8S, OVERLAYS, overlay, rendered, run, the, with_components
from tests.deploy.programs import program
from tools import rules
from tools.manifests.__main__ import faults
from tools.manifests.documents import Document, dig, read
from tools.manifests.workload import workloads

# The newest that there is, and the oldest that knows all that is used.
KUBERNETES = ("1.37.0", "1.27.0")
COMPONENTS = (
    ("monitoring",),
    ("keda",),
    ("ingress",),
    ("ingress", "ingress-gke"),
    ("spot",),
    ("prepare",),
    ("model-from-volume",),
    ("prepare", "model-from-volume"),
    ("model-from-volume", "prepare"),
    ("model-from-storage",),
    ("prepare", "model-from-storage"),
    ("model-from-storage", "prepare"),
    ("monitoring", "ingress", "prepare", "model-from-storage"),
)


@pytest.fixture(params=OVERLAYS)
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return overlay(request.param)


@pytest.fixture(scope="module", params=COMPONENTS, ids="+".join)
def composed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """An overlay with components in it, as a user writes it."""
    return with_components(tmp_path_factory.mktemp("overlay"), request.param)


def check_schema(documents: list[Document], folder: Path) -> None:
    ours = [document for document in documents if document["kind"] not in foreign.KINDS]
    assert ours
    for number, document in enumerate([*ours, *foreign.pods(documents)]):
        (folder / f"{number}.json").write_text(json.dumps(document))
    for version in KUBERNETES:
        done = run(program("kubernetes-validate"), "--strict", "--quiet", "-k", version, *folder.glob("*.json"))
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), version


def test_every_overlay_is_what_kubernetes_knows(documents: list[Document], tmp_path: Path) -> None:
    check_schema(documents, tmp_path)


def test_components_can_be_put_together(composed: list[Document], tmp_path: Path) -> None:
    (schemas := tmp_path / "schemas").mkdir()
    check_schema(composed, schemas)


def check_foreign(documents: list[Document]) -> None:
    theirs = [document for document in documents if document["kind"] in foreign.KINDS]
    assert [fault for document in theirs for fault in foreign.faults(document)] == []


def test_every_overlay_is_what_operators_know(documents: list[Document]) -> None:
    check_foreign(documents)


def test_components_are_what_operators_know(composed: list[Document]) -> None:
    check_foreign(composed)


def test_settings_and_manifests_agree(documents: list[Document]) -> None:
    assert list(faults(documents)) == []


def test_settings_and_manifests_agree_whatever_is_put_together(composed: list[Document]) -> None:
    # Kustomize cannot fill in the namespace of a query, and this one is not that of overlays/prod.
    assert [fault for fault in faults(composed) if "asks for another" not in fault] == []


def test_policies_find_nothing_that_is_not_explained(tmp_path: Path) -> None:
    for name in OVERLAYS:
        (tmp_path / f"{Path(name).name}.yaml").write_text(rendered(K8S / name))
    done = run(program("checkov"), "--config-file", K8S / "checkov.yaml", "-o", "json", "-d", tmp_path)
    report = json.loads(done.stdout)
    failed = [(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]]
    assert (done.returncode, failed) == (0, [])
    assert report["summary"]["passed"] > 200, "it looked at something"


def pods(documents: list[Document]) -> list[Document]:
    return [found.pod for found in workloads(documents)]


def containers(documents: list[Document]) -> list[Document]:
    found = [(*pod.get("initContainers", ()), *pod["containers"]) for pod in pods(documents)]
    assert found
    return [container for each in found for container in each]


def check_restricted(documents: list[Document]) -> None:
    """Pod Security Standards, restricted: each field that it speaks of."""
    for pod in pods(documents):
        assert [pod.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")] == [None] * 3
        volumes = {key for volume in pod["volumes"] for key in volume if key != "name"}
        assert volumes <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            context = {**pod.get("securityContext", {}), **container["securityContext"]}
            assert context == {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                # The standard does not ask for it; we do.
                "readOnlyRootFilesystem": True,
            }
            assert [port.get("hostPort") for port in container.get("ports", ())] == [None] * len(
                container.get("ports", ())
            )


def test_pod_security_is_restricted(documents: list[Document]) -> None:
    check_restricted(documents)


def test_pod_security_is_restricted_with_components(composed: list[Document]) -> None:
    check_restricted(composed)


@pytest.mark.parametrize("name", ["overlays/dev", "overlays/prod", "overlays/gpu"])
def test_the_namespace_refuses_what_is_not_restricted(name: str) -> None:
    labels = the(overlay(name), "Namespace")["metadata"]["labels"]
    assert {key: value for key, value in labels.items() if key.startswith("pod-security")} == {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
    }


def test_pods_get_no_token_and_no_variables_of_services(documents: list[Document]) -> None:
    told = [(pod["automountServiceAccountToken"], pod["enableServiceLinks"]) for pod in pods(documents)]
    assert told == [(False, False)]


def test_every_container_says_what_it_takes(composed: list[Document]) -> None:
    for container in containers(composed):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), container["name"]
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), container["name"]


def test_every_setting_is_one_of_the_service(documents: list[Document]) -> None:
    (found,) = workloads(documents)
    assert isinstance(found.settings, Settings)
    assert (str(found.settings.http.metrics), found.settings.log.format) == ("False", "json")


@pytest.mark.parametrize("name", ["overlays/dev", "overlays/prod", "overlays/gpu"])
def test_all_selectors_find_the_pods(name: str) -> None:
    documents = overlay(name)
    deployment = the(documents, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    selectors = [
        the(documents, "Service")["spec"]["selector"],
        the(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in dig(
            deployment, "template", "spec", "topologySpreadConstraints"
        )),
    ]  # fmt: skip
    assert selectors == [{"app.kubernetes.io/name": labels["app.kubernetes.io/name"]}] * 5


@pytest.mark.parametrize("name", ["overlays/dev", "overlays/prod", "overlays/gpu"])
def test_clients_reach_the_api_port_alone(name: str) -> None:
    (port,) = the(overlay(name), "Service")["spec"]["ports"]
    assert port["targetPort"] == "http"


def test_nothing_can_be_called_from_a_pod() -> None:
    policy = the(overlay("overlays/prod"), "NetworkPolicy")["spec"]
    assert (policy["policyTypes"], policy["egress"]) == (["Ingress", "Egress"], [])
    assert policy["ingress"] == [
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": "http"}]},
        {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "ports": [{"port": "ops"}],
        },
    ]


def test_a_clean_cluster_knows_all_of_the_overlay_for_trying_out() -> None:
    kinds = [document["kind"] for document in overlay("overlays/dev")]
    assert [kind for kind in kinds if kind in foreign.KINDS] == []
    assert kinds[0] == "Namespace", "what lies in a namespace comes after it"


def test_make_builds_the_image_that_the_overlay_for_trying_out_wants() -> None:
    (tags,) = re.findall(r"^IMAGE \?= (.+)$", (K8S.parent / "Makefile").read_text(), re.MULTILINE)
    assert {container["image"] for container in containers(overlay("overlays/dev"))} <= set(tags.split())


def test_a_changed_setting_is_rolled_out() -> None:
    def config_map(name: str) -> Any:
        container = the(overlay(name), "Deployment")["spec"]["template"]["spec"]["containers"][0]
        return container["envFrom"][0]["configMapRef"]["name"]

    # The second has settings of its own.
    assert config_map("overlays/dev") != config_map("overlays/gpu")


def test_prometheus_scrapes_the_ops_port_under_the_name_that_the_rules_know(tmp_path: Path) -> None:
    documents = with_components(tmp_path, ["monitoring"])
    monitor = the(documents, "PodMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    labels = the(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["spec"]["jobLabel"]] == "onnicorn"
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("ops", "/metrics")


def test_rules_and_dashboard_are_there_once_whoever_is_scraped(tmp_path: Path) -> None:
    """Rules ask about all namespaces, and dashboards have one name: a second copy would say everything twice."""
    kinds = [document["kind"] for document in with_components(tmp_path, ["monitoring"])]
    assert ("PodMonitor" in kinds, "PrometheusRule" in kinds) == (True, False)
    shared = overlay("monitoring")
    assert sorted(document["kind"] for document in shared) == ["ConfigMap", "PrometheusRule"]
    assert {document["metadata"]["namespace"] for document in shared} == {"monitoring"}


def test_the_guides_label_reaches_what_prometheus_looks_for(tmp_path: Path) -> None:
    (recipe,) = re.findall(r"```yaml\n(labels: .*?)```", (K8S / "README.md").read_text(), re.DOTALL)
    up = os.path.relpath(K8S, tmp_path.resolve())
    for name, resource, component in (("shared", "monitoring", ""), ("ours", "base", "monitoring")):
        (folder := tmp_path / name).mkdir()
        components = f"components: [../{up}/components/{component}]\n" if component else ""
        text = f"kind: Kustomization\nresources: [../{up}/{resource}]\n{components}{recipe}"
        (folder / "kustomization.yaml").write_text(f"apiVersion: kustomize.config.k8s.io/v1beta1\n{text}")
        for document in read(rendered(folder)):
            assert document["metadata"]["labels"]["release"] == "kube-prometheus-stack"
            assert "release" not in document.get("spec", {}).get("selector", {}).get("matchLabels", {})


def test_the_operators_rules_are_those_of_the_rule_files(tmp_path: Path) -> None:
    assert rules.TARGET.read_text() == rules.prometheus_rule(), "run: make rules"
    rule = the(overlay("monitoring"), "PrometheusRule")
    assert (rule["apiVersion"], list(rule["spec"])) == ("monitoring.coreos.com/v1", ["groups"])
    (tmp_path / "rules.json").write_text(json.dumps(rule["spec"]))
    done = run(program("promtool"), "check", "rules", tmp_path / "rules.json")
    assert done.returncode == 0, done.stderr


def test_grafana_finds_the_dashboard() -> None:
    found = the(overlay("monitoring"), "ConfigMap")
    assert found["metadata"]["name"] == "onnicorn-dashboard"
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["onnicorn.json"])["panels"]


def test_kserve_runs_what_the_base_runs() -> None:
    (ours,) = workloads(overlay("kserve"))
    (base,) = workloads(overlay("overlays/gpu"))
    runtime, served = the(overlay("kserve"), "ServingRuntime"), the(overlay("kserve"), "InferenceService")
    assert (runtime["apiVersion"], served["apiVersion"]) == ("serving.kserve.io/v1alpha1", "serving.kserve.io/v1beta1")
    assert "labels" not in served["metadata"], "they would be those of its pods, which a Service of the base would find"
    assert served["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Standard"}
    assert served["spec"]["predictor"]["model"]["runtime"] == runtime["metadata"]["name"]
    assert served["spec"]["predictor"]["model"]["modelFormat"]["name"] in [
        each["name"] for each in runtime["spec"]["supportedModelFormats"]
    ]
    assert [port["containerPort"] for port in ours.container["ports"]] == [8000, 8002]
    assert ours.container["volumeMounts"] == base.container["volumeMounts"]
    assert ours.pod["volumes"] == base.pod["volumes"]
    differing = {"repository", "runtime", "lifecycle"}  # another path, a GPU, KServe's patience
    assert ours.settings.model_dump(exclude=differing) == base.settings.model_dump(exclude=differing)
    assert ours.settings.lifecycle.graceful_seconds == base.settings.lifecycle.graceful_seconds


def test_the_guides_canary_is_found_by_the_service_and_counted_by_nobody_else(tmp_path: Path) -> None:
    guide = (K8S / "README.md").read_text()
    (recipe,) = re.findall(r"```yaml\n(# k8s/overlays/canary/.*?)```", guide, re.DOTALL)
    up = os.path.relpath(K8S, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(recipe.replace("../prod", f"{up}/overlays/prod"))
    canary = read(rendered(tmp_path))
    assert sorted(document["kind"] for document in canary) == ["ConfigMap", "Deployment"]
    deployment, stable = the(canary, "Deployment"), the(overlay("overlays/prod"), "Deployment")
    assert deployment["metadata"] | {"labels": None} == {
        "name": "onnicorn-canary",
        "namespace": stable["metadata"]["namespace"],
        "labels": None,
    }
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert the(overlay("overlays/prod"), "Service")["spec"]["selector"].items() <= labels.items()
    assert not stable["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "onnicorn"
    (found,), (production,) = workloads(canary), workloads(overlay("overlays/prod"))
    assert found.settings == production.settings, "found, so its ConfigMap is"
    assert found.container["resources"] == production.container["resources"]
    assert found.container["image"] != production.container["image"]
    assert [fault.partition(": ")[2].partition(",")[0] for fault in faults(canary)] == [
        "replicas is 1",
        "0 PodDisruptionBudgets select its pods",
    ], "as the guide says"
