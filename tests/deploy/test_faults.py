"""Each number that could be changed in an overlay so that it agrees with the others no longer: the tool tells."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.kubernetes import ROOT
from tests.deploy.sample import GONE, change, of, told, with_settings
from tools.manifests.documents import Unreadable, quantity, read

WANTING = {"name": "a", "envFrom": [{"configMapRef": {"name": "b"}}]}


def test_numbers_that_agree_are_no_fault() -> None:
    assert told(with_settings({})) == []


@pytest.mark.parametrize(
    ("variable", "value", "begins"),
    [
        ("LIFECYCLE__FINISH_SECONDS", "21", "terminationGracePeriodSeconds is 40, expected at least 41: drain"),
        ("LIFECYCLE__RUN_SECONDS", "19", "ONNICORN_LIFECYCLE__FINISH_SECONDS is 20, expected at least 21: what is"),
        ("ADMISSION__MAX_WAIT_MS", "3000", "ONNICORN_LIFECYCLE__FINISH_SECONDS is 20, expected at least 21: what is"),
        ("LIFECYCLE__DRAIN_SECONDS", "9", "ONNICORN_LIFECYCLE__DRAIN_SECONDS is 9, expected at least 10"),
        ("LIFECYCLE__LOAD_SECONDS", "61", "startupProbe gives up after 2 x 60 = 120 s, expected at least 122"),
        ("ADMISSION__MAX_BYTES", "1048576", "ONNICORN_ADMISSION__MAX_BYTES is 1048576, expected at least"),
        ("ADMISSION__MAX_BYTES", str(65 << 20), "ONNICORN_ADMISSION__MAX_BYTES is 68157440, expected at most the"),
        ("HTTP__MAX_BODY_BYTES", str(65 << 20), "the limit of memory leaves 67148185 bytes for request bodies in each"),
        ("RUNTIME__INTRA_OP_THREADS", "3", "1 worker with 3 threads each want 3 CPUs, and the limit is 2"),
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
        ("pod.terminationGracePeriodSeconds", GONE, "terminationGracePeriodSeconds is 30, expected at least 40: drain"),
        ("container.lifecycle", {"preStop": {"sleep": {"seconds": 1}}}, "terminationGracePeriodSeconds is 40, expected "
         "at least 41: preStop (1) + drain_seconds (10)"),
        ("container.lifecycle", {"preStop": {"exec": {"command": ["sh", "-c", "sleep 9"]}}},
         "terminationGracePeriodSeconds is 40, expected at least 49: preStop (9)"),
        ("container.lifecycle", {"preStop": {"exec": {"command": ["sleep", "3s"]}}},
         "terminationGracePeriodSeconds is 40, expected at least 43: preStop (3)"),
        ("container.lifecycle", {"preStop": {"exec": {"command": ["sleep", "1m"]}}}, "nothing says how long the pre"),
        ("container.lifecycle", {"preStop": {"exec": {"command": ["sleep", "1.5"]}}}, "nothing says how long the pre"),
        ("container.lifecycle", {"preStop": {"httpGet": {"port": 1}}}, "nothing says how long the preStop hook takes"),
        ("container.readinessProbe.failureThreshold", GONE, "ONNICORN_LIFECYCLE__DRAIN_SECONDS is 10, expected at"),
        ("container.startupProbe.failureThreshold", 59, "startupProbe gives up after 2 x 59 = 118 s, expected at"),
        ("deployment.progressDeadlineSeconds", 119, "progressDeadlineSeconds is 119, expected at least 120"),
        ("deployment.minReadySeconds", 481, "progressDeadlineSeconds is 600, expected at least 601"),
        ("pod.initContainers", [{"name": "a"}] * 9, "progressDeadlineSeconds is 600, expected at least 660, which init "
         "containers (9 x 60), startupProbe and"),
        ("container.readinessProbe.initialDelaySeconds", 1, "readinessProbe.initialDelaySeconds is 1, expected none"),
        ("container.livenessProbe.failureThreshold", 2, "livenessProbe gives up after 5 x 2 s, expected at least 15"),
        ("container.livenessProbe.timeoutSeconds", 1, "livenessProbe.timeoutSeconds is 1, expected at least 2"),
        ("container.livenessProbe.timeoutSeconds", 6, "livenessProbe.timeoutSeconds is 6, expected at most period"),
        ("container.livenessProbe.terminationGracePeriodSeconds", GONE, "livenessProbe leaves the container that it"),
        ("container.startupProbe.terminationGracePeriodSeconds", 16, "startupProbe leaves the container that it"),
        ("container.livenessProbe.httpGet.port", "http", "livenessProbe asks /livez on port 8000, expected /livez"),
        ("container.livenessProbe.httpGet.path", "/readyz", "livenessProbe asks /readyz on port 8002, expected"),
        (f"{LIMITS}.memory", "746Mi", "the limit of memory leaves 67030220 bytes for request bodies in each worker"),
        (f"{LIMITS}.memory", "160Mi", "only 1 worker with 2 threads each: memory for more workers is missing"),
        (f"{LIMITS}.memory", "128Mi", "1 worker cannot fit into memory"),
        (f"{LIMITS}.memory", GONE, "there is no limit of memory"),
        (f"{LIMITS}.cpu", GONE, "there is no limit of CPU"),
        (f"{LIMITS}.nvidia.com/gpu", 1, "there is a device (nvidia.com/gpu), and none of ONNICORN_RUNTIME__PROVIDERS"),
        ("run.sizeLimit", GONE, "volume 'run' has no sizeLimit"),
        ("run.sizeLimit", "1Mi", "volume 'run' has sizeLimit 1Mi, expected at least 4Mi for the metric files of 4"),
        ("run.medium", GONE, "ONNICORN_RUN__DIR (/run/service) is on no emptyDir with medium Memory"),
        ("cache.sizeLimit", "5119Mi", "volume 'cache' has sizeLimit 5119Mi, expected at least 5120Mi: prepared models"),
        ("container.resources.requests", GONE, "the request of ephemeral-storage is 0Mi, expected at least 7168Mi"),
        (f"{LIMITS}.ephemeral-storage", "7167Mi", "the limit of ephemeral-storage is 7167Mi, expected at least 7168Mi"),
        ("models.sizeLimit", "2050Mi", "volume 'cache' has sizeLimit 5120Mi, expected at least 5125Mi: prepared"),
        ("cache.medium", "Memory", "ONNICORN_CACHE__DIR (/cache) is in memory"),
        ("deployment.replicas", 1, "replicas is 1, expected at least 2"),
        ("deployment.strategy", GONE, "strategy.rollingUpdate.maxUnavailable is not 0"),
        ("deployment.strategy.type", "Recreate", "the strategy is not RollingUpdate"),
        ("deployment.strategy.rollingUpdate.maxSurge", 0, "strategy.rollingUpdate.maxSurge is 0"),
        ("budget.maxUnavailable", 0, "its PodDisruptionBudget keeps all of 2: while there are no more, no node can"),
        ("budget.maxUnavailable", "0%", "its PodDisruptionBudget keeps all of 2"),
        ("budget.maxUnavailable", 2, "its PodDisruptionBudget lets all of 2 go at once"),
        ("budget.maxUnavailable", "51%", "its PodDisruptionBudget lets all of 2 go at once"),
        ("budget.minAvailable", 2, "its PodDisruptionBudget keeps all of 2"),
        ("budget.minAvailable", "51%", "its PodDisruptionBudget keeps all of 2"),
        ("budget.minAvailable", "0%", "its PodDisruptionBudget lets all of 2 go at once"),
        ("budget.selector.matchLabels", {"app": "x"}, "0 PodDisruptionBudgets select its pods"),
        ("pod.initContainers", [WANTING], "container 'a' wants ConfigMap 'b', which is not among the documents"),
    ],
)  # fmt: skip
def test_a_number_that_does_not_fit_is_told(path: str, value: Any, begins: str) -> None:
    documents = with_settings({})
    change(of(documents), path, value)
    (fault,) = told(documents)
    assert fault[: len(begins)] == begins


def preparing(**changes: Any) -> Any:
    mounts = [{"name": "models", "mountPath": "/models"}, {"name": "cache", "mountPath": "/cache"}]
    return {"name": "first", "command": ["onnicorn", "prepare"], "volumeMounts": mounts} | changes


FETCHING = {"name": "second", "args": ["fetch", "s3://bucket", "/models"]}
SMALL = {"limits": {"memory": "746Mi"}}
ELSEWHERE = [{"name": "cache", "mountPath": "/"}]


@pytest.mark.parametrize(
    ("containers", "settings", "begins"),
    [
        ([preparing(), FETCHING], {}, "init container 'first' runs before 'second', which brings the models"),
        ([preparing(resources=SMALL)], {}, "init container 'first' has a limit of memory of 746Mi, expected at least"),
        ([preparing(volumeMounts=ELSEWHERE)], {}, "init container 'first' has volume 'cache' at /models "
         "(ONNICORN_REPOSITORY__PATH), expected volume 'models', which the service has there"),
        ([preparing()], {"ONNICORN_RUNTIME__PROVIDERS": "DnnlExecutionProvider,CPUExecutionProvider"},
         "init container 'first' could never end well: models are prepared for CPUs alone, and"),
    ],
)  # fmt: skip
def test_an_init_container_that_prepares_in_vain_is_told(
    containers: list[Any], settings: dict[str, str], begins: str
) -> None:
    documents = with_settings(settings)
    of(documents)["pod"]["initContainers"] = containers
    (fault,) = told(documents)
    assert fault[: len(begins)] == begins


def test_an_init_container_may_prepare_what_another_one_has_fetched() -> None:
    documents = with_settings({})
    of(documents)["pod"]["initContainers"] = [FETCHING, preparing(resources={"limits": {"memory": "747Mi"}})]
    assert told(documents) == []


def test_a_single_worker_may_have_a_device_to_itself() -> None:
    settings = {"ONNICORN_RUNTIME__PROVIDERS": "CUDAExecutionProvider", "ONNICORN_RUNTIME__WORKERS": "1"}
    documents = with_settings(settings)
    of(documents)["container"]["resources"]["limits"]["nvidia.com/gpu"] = 1
    assert told(documents) == []
    del documents[0]["data"]["ONNICORN_RUNTIME__WORKERS"]
    assert told(documents) == ["ONNICORN_RUNTIME__WORKERS is None, expected 1: one for each device"]


def test_the_environment_of_whoever_asks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNICORN_LIFECYCLE__FINISH_SECONDS", "3600")
    assert told(with_settings({})) == []


def test_a_list_is_its_items() -> None:
    documents = with_settings({})
    assert read(str({"kind": "List", "items": deepcopy(documents)})) == documents


def test_manifests_without_the_service_are_told() -> None:
    expected = (
        "no Deployment and no InferenceService has a container with ONNICORN_* settings, its own or those of a "
        "ConfigMap among the documents"
    )
    assert told([]) == [expected]
    assert told(with_settings({})[1:]) == [expected]


def test_a_setting_that_is_said_elsewhere_is_told() -> None:
    documents = with_settings({})
    elsewhere = {"valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    of(documents)["container"]["env"] = [
        {"name": "ONNICORN_LIFECYCLE__DRAIN_SECONDS", **elsewhere},
        {"name": "AWS_SECRET_ACCESS_KEY", **elsewhere},
    ]
    assert told(documents) == [
        "ONNICORN_LIFECYCLE__DRAIN_SECONDS comes by valueFrom, so nobody can tell here whether it fits: expected its "
        "value, or a ConfigMap among the documents by envFrom"
    ]


def test_a_prefix_before_the_keys_of_a_config_map_counts() -> None:
    documents = with_settings({})
    documents[0]["data"] = {key.removeprefix("ONNICORN_"): value for key, value in documents[0]["data"].items()}
    of(documents)["container"]["envFrom"][0]["prefix"] = "ONNICORN_"
    assert told(documents) == []
    documents[0]["data"]["LIFECYCLE__FINISH_SECONDS"] = "19"
    (fault,) = told(documents)
    assert fault.startswith("ONNICORN_LIFECYCLE__FINISH_SECONDS is 19, expected at least 20")


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


@pytest.mark.parametrize("name", ["", "missing.yaml", "binary.yaml"])
def test_what_is_no_file_of_text_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    done = subprocess.run(
        [sys.executable, "-m", "tools.manifests", tmp_path / name], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("expected files of what `kubectl kustomize` prints: ")
