"""Probes: each at its place, and with the patience that the settings need."""

from collections.abc import Iterator
from typing import Final

from tools.manifests.documents import Document, dig
from tools.manifests.workload import Workload

_PATHS: Final = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
# Seconds. The ops process is replaced within about two if it dies, and probes wait meanwhile.
_OPS_ANEW: Final = 2
# The master replaces a worker that is silent; only when that has not helped for so long is it time for a new container.
_OWN_REMEDY: Final = 15
# So long may a container that is given up take to end. It has no drain to wait for.
_HUNG: Final = 15
# What Kubernetes takes where nothing is said.
_GRACE: Final = 30
_PROGRESS_DEADLINE: Final = 600


def places(workload: Workload) -> Iterator[str]:
    """All three, on the ops port, where no request can hold them up."""
    ops = int(workload.settings.ops.bind.rpartition(":")[2])
    for name, path in _PATHS.items():
        got = dig(workload.container, name, "httpGet", default={})
        port = _number(workload.container, got.get("port"))
        if (got.get("path"), port) != (path, ops):
            yield f"{name} asks {got.get('path')} on port {port}, expected {path} on port {ops} (ONNICORN_OPS__BIND)"


def timeouts(workload: Workload) -> Iterator[str]:
    """An answer that may take longer than the period makes every sum of periods wrong."""
    for name in _PATHS:
        period, _, timeout = _numbers(workload.container, name)
        if timeout > period:
            yield f"{name}.timeoutSeconds is {timeout}, expected at most periodSeconds ({period})"
    *_, timeout = _numbers(workload.container, "livenessProbe")
    if timeout < _OPS_ANEW:
        yield (
            f"livenessProbe.timeoutSeconds is {timeout}, expected at least {_OPS_ANEW}: so long a probe waits when the "
            "process that answers is replaced"
        )


def patience(workload: Workload) -> Iterator[str]:
    """The service replaces its workers by itself; the kubelet is for when that does not help."""
    period, failures, _ = _numbers(workload.container, "livenessProbe")
    if period * failures < _OWN_REMEDY:
        yield (
            f"livenessProbe gives up after {period} x {failures} s, expected at least {_OWN_REMEDY}: the service "
            "replaces silent workers by itself, and needs that long to"
        )


def hung(workload: Workload) -> Iterator[str]:
    """The pod's grace is for requests that run. Where nobody answers any more it only puts off the new container."""
    grace = workload.pod.get("terminationGracePeriodSeconds", _GRACE)
    for name in ("startupProbe", "livenessProbe"):
        seconds = dig(workload.container, name, "terminationGracePeriodSeconds", default=grace)
        if seconds > _HUNG:
            yield (
                f"{name} leaves the container that it gives up {seconds} s more, expected at most {_HUNG}: say "
                f"{name}.terminationGracePeriodSeconds, else the pod's counts"
            )


def delays(workload: Workload) -> Iterator[str]:
    """No probe counts before the startup probe has seen the start, so nobody needs to guess how long that takes."""
    for name in _PATHS:
        if seconds := dig(workload.container, name, "initialDelaySeconds", default=0):
            yield f"{name}.initialDelaySeconds is {seconds}, expected none: the startup probe sees when it has started"


def start(workload: Workload) -> Iterator[str]:
    """Preparing and loading may take load_seconds each, and whoever waits for the rollout must wait as long.

    An init container does part of that, or of what comes before, and is given as much.
    """
    seconds = workload.settings.lifecycle.load_seconds
    period, failures, _ = _numbers(workload.container, "startupProbe")
    if period * failures < 2 * seconds:
        yield (
            f"startupProbe gives up after {period} x {failures} = {period * failures} s, expected at least "
            f"{2 * seconds:g}: preparing and loading may take ONNICORN_LIFECYCLE__LOAD_SECONDS ({seconds:g}) each"
        )
    deadline = dig(workload.rollout, "progressDeadlineSeconds", default=_PROGRESS_DEADLINE)
    before = len(workload.pod.get("initContainers", ()))
    needed = before * seconds + period * failures + dig(workload.rollout, "minReadySeconds", default=0)
    if deadline < needed:
        yield (
            f"progressDeadlineSeconds is {deadline}, expected at least {needed:g}, which init containers ({before} x "
            f"{seconds:g}), startupProbe and minReadySeconds allow: else a rollout counts as failed that may still "
            "succeed"
        )


def _numbers(container: Document, name: str) -> tuple[int, int, int]:
    """Period, failures and timeout, with the defaults of Kubernetes."""
    probe = dig(container, name, default={})
    return probe.get("periodSeconds", 10), probe.get("failureThreshold", 3), probe.get("timeoutSeconds", 1)


def _number(container: Document, port: str | int | None) -> int | None:
    """A port may be said by its name."""
    if not isinstance(port, str):
        return port
    return next((each["containerPort"] for each in container.get("ports", ()) if each.get("name") == port), None)


CHECKS: Final = (places, timeouts, patience, hung, delays, start)
