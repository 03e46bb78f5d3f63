"""How many there are, and how they are replaced: nobody may be left without a pod."""

import math
from collections.abc import Iterator
from typing import Final

from tools.manifests.autoscalers import autoscalers
from tools.manifests.documents import Document, dig, of_kind
from tools.manifests.workload import Workload

# The least that can lose one and go on.
_LEAST: Final = 2


def strategy(workload: Workload) -> Iterator[str]:
    """A rollout may add pods, never take one away before its successor is there."""
    rolling = dig(workload.rollout, "strategy", "rollingUpdate", default={})
    if dig(workload.rollout, "strategy", "type", default="RollingUpdate") != "RollingUpdate":
        yield "the strategy is not RollingUpdate: a rollout would end every pod before there is another"
    elif rolling.get("maxUnavailable", "25%") not in (0, "0%"):
        yield "strategy.rollingUpdate.maxUnavailable is not 0: a rollout would take pods away before there are others"
    elif rolling.get("maxSurge", "25%") in (0, "0%"):
        yield "strategy.rollingUpdate.maxSurge is 0, and so is maxUnavailable: a rollout could never begin"


def least(workload: Workload) -> Iterator[str]:
    """A single one leaves nobody when its node is drained."""
    for title, count in _least(workload):
        if count < _LEAST:
            yield f"{title} is {count}, expected at least {_LEAST}: a drained node would leave nobody to answer"


def budget(workload: Workload) -> Iterator[str]:
    """One may always leave, else a node can never be emptied; but never all at once."""
    found = [
        document for document in of_kind(workload.documents, "PodDisruptionBudget") if _selects(document, workload)
    ]
    if len(found) != 1:
        yield f"{len(found)} PodDisruptionBudgets select its pods, expected 1"
        return
    spec, fewest = found[0]["spec"], min((count for _, count in _least(workload)), default=1)
    may_go = _may_go(spec, fewest)
    if may_go <= 0:
        yield f"its PodDisruptionBudget keeps all of {fewest}: while there are no more, no node can be emptied"
    elif may_go >= fewest >= _LEAST:
        yield f"its PodDisruptionBudget lets all of {fewest} go at once: nobody would be left to answer"


def _may_go(spec: Document, pods: int) -> int:
    if "minAvailable" in spec:
        return pods - _share(spec["minAvailable"], pods)
    return _share(spec.get("maxUnavailable", 0), pods)


def _share(written: int | str, pods: int) -> int:
    """Of the pods, in percent: Kubernetes rounds up."""
    return written if isinstance(written, int) else math.ceil(int(written.removesuffix("%")) * pods / 100)


def _least(workload: Workload) -> Iterator[tuple[str, int]]:
    found = list(autoscalers(workload))
    for document in found:
        spec = document["spec"]
        if document["kind"] == "HorizontalPodAutoscaler":
            yield "HorizontalPodAutoscaler.spec.minReplicas", spec.get("minReplicas", 1)
        else:
            yield "ScaledObject.spec.minReplicaCount", spec.get("minReplicaCount", 0)
            if "idleReplicaCount" in spec:  # in its place, while no trigger asks for any
                yield "ScaledObject.spec.idleReplicaCount", spec["idleReplicaCount"]
    if not found:
        yield "replicas", workload.rollout.get("replicas", 1)


def _selects(document: Document, workload: Workload) -> bool:
    wanted = dig(document, "spec", "selector", "matchLabels", default={})
    return bool(wanted) and wanted.items() <= workload.labels.items()


CHECKS: Final = (strategy, least, budget)
