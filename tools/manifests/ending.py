"""The end of a pod: it must be seen, and leave everybody the time that the settings promise."""

import re
from collections.abc import Iterator
from typing import Final

from tools.manifests.documents import Document, dig, of_kind
from tools.manifests.workload import Workload

# Seconds. From a pod that is not ready until the last proxy and ingress controller knows.
PROPAGATION: Final = 5
# The master's own work round its workers' end, and a clock that does not run evenly.
MARGIN: Final = 5
# What Kubernetes takes where nothing is said.
_GRACE: Final = 30
# Ours, on an Ingress: Kubernetes has no word for it.
BALANCER_IDLE: Final = "onnicorn/balancer-idle-seconds"


def grace(workload: Workload) -> Iterator[str]:
    """A pod is killed when its grace is over, whatever it still runs; what a preStop hook sleeps is part of it."""
    lifecycle, asleep = workload.settings.lifecycle, _asleep(workload.container)
    if asleep is None:
        yield "nothing says how long the preStop hook takes, which is part of the grace: expected one that sleeps"
        return
    seconds = workload.pod.get("terminationGracePeriodSeconds", _GRACE)
    if seconds < (needed := asleep + lifecycle.graceful_seconds + MARGIN):
        yield (
            f"terminationGracePeriodSeconds is {seconds}, expected at least {needed}: "
            f"{f'preStop ({asleep}) + ' if asleep else ''}drain_seconds ({lifecycle.drain_seconds:g}) + finish_seconds "
            f"({lifecycle.finish_seconds:g}) + 5 in which Gunicorn ends what did not end by itself + {MARGIN} of margin"
        )


def _asleep(container: Document) -> int | None:
    """Seconds between the end of a pod and its SIGTERM; None where they are not said."""
    hook = dig(container, "lifecycle", "preStop")
    said = re.search(r"\bsleep (\d+)s?(?![.\w])", " ".join(map(str, dig(hook, "exec", "command", default=()))))
    seconds = dig(hook, "sleep", "seconds", default=said[1] if said else None)
    return int(seconds or 0) if seconds is not None or not hook else None


def finish(workload: Workload) -> Iterator[str]:
    """Whoever is admitted at the drain's last moment may wait, and then run for as long as any run may.

    A default timeout changes nothing: callers may state longer ones.
    """
    lifecycle, wait = workload.settings.lifecycle, workload.settings.admission.max_wait_ms
    if lifecycle.finish_seconds < (needed := wait / 1000 + lifecycle.run_seconds):
        yield (
            f"ONNICORN_LIFECYCLE__FINISH_SECONDS is {lifecycle.finish_seconds:g}, expected at least {needed:g}: what "
            f"is admitted when the drain ends may wait for ONNICORN_ADMISSION__MAX_WAIT_MS ({wait:g}) and run for "
            f"ONNICORN_LIFECYCLE__RUN_SECONDS ({lifecycle.run_seconds:g})"
        )


def drain(workload: Workload) -> Iterator[str]:
    """Requests come until everybody knows that the pod is not ready; so long it must answer them."""
    probe = dig(workload.container, "readinessProbe", default={})
    period, failures, timeout = (probe.get(key, default) for key, default in _READINESS.items())
    seen = period * failures + timeout
    seconds = workload.settings.lifecycle.drain_seconds
    if seconds < seen + PROPAGATION:
        yield (
            f"ONNICORN_LIFECYCLE__DRAIN_SECONDS is {seconds:g}, expected at least {seen + PROPAGATION}: the readiness "
            f"probe sees the end within {period} x {failures} + {timeout} = {seen} s, and {PROPAGATION} s later "
            "everybody knows"
        )


# With the defaults of Kubernetes.
_READINESS: Final = {"periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 1}


def keep_alive(workload: Workload) -> Iterator[str]:
    """Whoever sends the next request must be the one who closes an idle connection."""
    seconds = workload.settings.http.keep_alive_seconds
    for ingress in of_kind(workload.documents, "Ingress"):
        title = f"Ingress/{ingress['metadata']['name']}"
        idle = dig(ingress, "metadata", "annotations", BALANCER_IDLE)
        if idle is None or not str(idle).isdecimal():
            yield (
                f"{title} has no annotation {BALANCER_IDLE}: say there how many seconds your balancer keeps an idle "
                "connection to a pod"
            )
        elif seconds <= int(idle):
            yield (
                f"ONNICORN_HTTP__KEEP_ALIVE_SECONDS is {seconds}, expected more than the {idle} s for which {title} "
                "keeps idle connections: else it sends a request into one that was just closed"
            )


CHECKS: Final = (grace, finish, drain, keep_alive)
