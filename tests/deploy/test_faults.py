"""Each number that could be changed in an overlay so that it agrees with the others no longer: the tool tells."""

import subprocess
import sys
from copy import deepcopy
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
        ("container.livenessProbe.terminationGracePeriodSeconds", GONE, "livenessProbe leaves the container that it"),
        ("container.startupProbe.terminationGracePeriodSeconds", 16, "startupProbe leaves the container that it"),
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
        ("cache.sizeLimit", "5119Mi", "volume 'cache' has sizeLimit 5119Mi, expected at least 5120Mi: prepared models"),
        ("container.resources.requests", GONE, "the request of ephemeral-storage is 0Mi, expected at least 7168Mi"),
        ("models.sizeLimit", "2050Mi", "volume 'cache' has sizeLimit 5120Mi, expected at least 5125Mi: prepared"),
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
