"""An init container that prepares the models: it must find them, and leave them where the service looks."""

from collections.abc import Iterator
from typing import Final

from tools.manifests.documents import Document, dig, quantity
from tools.manifests.workload import Workload

_CPU_ONLY: Final = ("CPUExecutionProvider",)


def order(workload: Workload) -> Iterator[str]:
    """Init containers run one after another, and a model must be there before it can be prepared."""
    listed = workload.pod.get("initContainers", [])
    for fetch in _running("fetch", workload):
        for prepare in _running("prepare", workload):
            if listed.index(prepare) < listed.index(fetch):
                yield f"init container {prepare['name']!r} runs before {fetch['name']!r}, which brings the models"


def mounts(workload: Workload) -> Iterator[str]:
    """It must see the same models and the same cache, else it prepares what nobody serves."""
    places = {
        "ONNICORN_REPOSITORY__PATH": workload.settings.repository.path,
        "ONNICORN_CACHE__DIR": workload.settings.cache.dir,
    }
    for container in _running("prepare", workload):
        for variable, path in places.items():
            got, expected = workload.volume_at(path, container), workload.volume_at(path)
            if got != expected:
                yield (
                    f"init container {container['name']!r} has {_named(got)} at {path} ({variable}), expected "
                    f"{_named(expected)}, which the service has there"
                )


def memory(workload: Workload) -> Iterator[str]:
    """What the service could prepare by itself must not fail because it is prepared before."""
    limit = workload.limit("memory")
    for container in _running("prepare", workload):
        got = dig(container, "resources", "limits", "memory")
        if limit is not None and got is not None and quantity(got) < limit:
            yield (
                f"init container {container['name']!r} has a limit of memory of {got}, expected at least that of the "
                f"service ({dig(workload.container, 'resources', 'limits', 'memory')})"
            )


def providers(workload: Workload) -> Iterator[str]:
    """Packed weights are the CPU kernels' own; where there is nothing to prepare, `onnicorn prepare` fails."""
    asked = workload.settings.runtime.providers
    for container in _running("prepare", workload):
        if asked != _CPU_ONLY:
            yield (
                f"init container {container['name']!r} could never end well: models are prepared for CPUs alone, and "
                f"ONNICORN_RUNTIME__PROVIDERS is {','.join(asked)}; take it out (components/prepare)"
            )


def _running(command: str, workload: Workload) -> list[Document]:
    """Init containers that run this command of the service, after its name or as the image's argument."""
    return [
        container
        for container in workload.pod.get("initContainers", ())
        if command in (container.get("command", []) + container.get("args", []))[:2]
    ]


def _named(volume: Document | None) -> str:
    return f"volume {volume['name']!r}" if volume else "no volume"


CHECKS: Final = (order, mounts, memory, providers)
