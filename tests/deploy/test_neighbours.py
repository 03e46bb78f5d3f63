"""What stands beside the pods, an Ingress or an autoscaler, must fit too: the tool tells."""

import pytest

from tests.deploy.sample import of, told, with_settings
from tools.manifests.documents import read

INGRESS = "kind: Ingress\nmetadata: {name: outside, namespace: ns, annotations: %s}\n"
HPA = (
    "kind: HorizontalPodAutoscaler\nmetadata: {name: service, namespace: ns}\n"
    "spec: {minReplicas: %s, scaleTargetRef: {kind: Deployment, name: service}, metrics: [%s]}\n"
)
SCALED = """
kind: ScaledObject
metadata: {name: service, namespace: ns}
spec: {minReplicaCount: 2, scaleTargetRef: {name: service}, triggers: [{metadata: %s}]}
"""


@pytest.mark.parametrize("kind", ["Namespace", "PersistentVolume", "StorageClass", "PriorityClass"])
def test_what_no_namespace_has_may_stand_beside_the_pods(kind: str) -> None:
    assert told(with_settings({}) + read(f"kind: {kind}\nmetadata: {{name: x}}\n")) == []


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
    documents = with_settings({}) + read(HPA % (least, ""))
    if not keeps_replicas:
        del of(documents)["deployment"]["replicas"]
    assert told(documents) == expected


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ("{query: 'x{namespace=\"ns\"}', ignoreNullValues: 'false'}", []),
        (
            "{query: 'x{namespace=\"other\"}', ignoreNullValues: 'false'}",
            ["ScaledObject/service is in 'ns' and asks for another, or for all: x{namespace=\"other\"}"],
        ),
        (
            "{query: x, ignoreNullValues: 'false'}",
            ["ScaledObject/service is in 'ns' and asks for another, or for all: x"],
        ),
        (
            "{query: 'x{namespace=\"ns\"}'}",
            [
                "ScaledObject/service takes an empty answer for 0 and would remove pods: expected "
                'ignoreNullValues: "false" beside the query'
            ],
        ),
        *(
            (f"{{query: '{{namespace=\"ns\", pod=~\"{pods}\"}}', ignoreNullValues: 'false'}}", [])
            for pods in ("service-[^-]+-[^-]+", "service-.+", r"service-\\w+-[a-z0-9]{5}", r"\\pL+.*")
        ),
        (
            "{query: '{namespace=\"ns\", pod=~\"other-[^-]+-[^-]+\"}', ignoreNullValues: 'false'}",
            [
                "ScaledObject/service asks for pods that match 'other-[^-]+-[^-]+', and its own are called "
                "service-6f4d9b7c58-x7k2p"
            ],
        ),
        ("{containerName: service}", []),
        (
            "{containerName: sidecar}",
            ["ScaledObject/service watches container 'sidecar', expected one of the pod's: service"],
        ),
    ],
)
def test_a_trigger_that_would_mislead_is_told(trigger: str, expected: list[str]) -> None:
    documents = with_settings({})
    del of(documents)["deployment"]["replicas"]
    assert told(documents + read(SCALED % trigger)) == expected


@pytest.mark.parametrize(
    ("selector", "port", "expected"),
    [
        ("{app: service}", "http", []),
        ("{app: service}", 8000, []),
        ("{app: service}", "ops", ["Service/door sends to the ops port alone, where no model answers: expected "
         "targetPort 8000 (ONNICORN_HTTP__BIND)"]),
        ("{app: service}", 8002, ["Service/door sends to the ops port alone, where no model answers: expected "
         "targetPort 8000 (ONNICORN_HTTP__BIND)"]),
        ("{app: service}", "https", ["Service/door sends to port 'https', which no container of the pod has"]),
        ("{app: another}", "http", ["Service/door selects {'app': 'another'}, which no pod has as labels"]),
    ],
)  # fmt: skip
def test_a_service_finds_pods_and_a_port_of_theirs(selector: str, port: str | int, expected: list[str]) -> None:
    service = f"kind: Service\nmetadata: {{name: door, namespace: ns}}\nspec: {{selector: {selector}, ports: [%s]}}\n"
    assert told(with_settings({}) + read(service % f"{{port: 80, targetPort: {port}}}")) == expected


def test_a_second_service_may_be_for_scrapes() -> None:
    service = (
        "kind: Service\nmetadata: {name: %s, namespace: ns}\n"
        "spec: {selector: {app: service}, ports: [{port: 80, targetPort: %s}]}\n---\n"
    )
    assert told(with_settings({}) + read(service % ("door", "http") + service % ("scrapes", "ops"))) == []


def test_a_service_may_be_for_pods_that_are_not_among_these() -> None:
    service = (
        "kind: Service\nmetadata: {name: %s, namespace: ns}\nspec: {selector: {app: %s}, ports: [{port: 8000}]}\n---\n"
    )
    assert told(with_settings({}) + read(service % ("door", "service") + service % ("store", "redis"))) == []


@pytest.mark.parametrize(
    ("least", "begins"),
    [
        ("minReplicaCount: 2, idleReplicaCount: 2", []),
        ("minReplicaCount: 2, idleReplicaCount: 0", ["ScaledObject.spec.idleReplicaCount is 0, expected at least 2"]),
        ("maxReplicaCount: 9", ["ScaledObject.spec.minReplicaCount is 0, expected at least 2"]),
    ],
)
def test_the_fewest_that_keda_leaves_are_enough(least: str, begins: list[str]) -> None:
    documents = with_settings({})
    del of(documents)["deployment"]["replicas"]
    faults = told(documents + read((SCALED % "{}").replace("minReplicaCount: 2", least)))
    assert [fault.partition(":")[0] for fault in faults] == begins


@pytest.mark.parametrize("document", [HPA % (2, ""), SCALED % "{}"])
def test_what_scales_nothing_is_told(document: str) -> None:
    (scaling,) = read(document.replace("name: service}", "name: other}"))
    assert told([*with_settings({}), scaling]) == [
        f"{scaling['kind']}/service scales Deployment/other, which is not among the documents"
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("service", []),
        (
            "sidecar",
            ["HorizontalPodAutoscaler/service watches container 'sidecar', expected one of the pod's: service"],
        ),
    ],
)
def test_an_autoscaler_watches_a_container_that_is_there(name: str, expected: list[str]) -> None:
    documents = with_settings({})
    del of(documents)["deployment"]["replicas"]
    metric = f"{{containerResource: {{container: {name}}}}}"
    assert told(documents + read(HPA % (2, metric))) == expected
