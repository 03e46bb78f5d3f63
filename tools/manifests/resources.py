"""CPU, memory and volumes: the plan that the service makes of them must fit."""

from collections.abc import Iterator
from typing import Final

from service.knobs import Admission
from service.plan import DoesNotFit, Weights, fit, some, with_bodies
from tools.manifests.documents import Document, dig, quantity
from tools.manifests.workload import Workload

_MEBIBYTE: Final = 1 << 20
# The room on disk that prepared models need, for one of the models themselves.
_PREPARED: Final = 2.5
# Bytes of metric files for each process, generously: measured 0.1 MiB with five models.
_RUN_BYTES: Final = _MEBIBYTE
# Besides the workers: the master and ops.
_OTHERS: Final = 2
_DEVICE: Final = "nvidia.com/gpu"
_DEVICE_PROVIDERS: Final = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}


def cpu(workload: Workload) -> Iterator[str]:
    """The plan follows the limit; what is set by hand must not exceed it."""
    cpus = workload.limit("cpu")
    if cpus is None:
        yield "there is no limit of CPU: the plan would make a worker for each CPU of whatever node it is"
        return
    plan = workload.plan()
    assert plan
    if (wanted := plan.workers * plan.intra_op_threads) > cpus:
        yield (
            f"{some(plan.workers, 'worker')} with {some(plan.intra_op_threads, 'thread')} each want {wanted} CPUs, and "
            f"the limit is {cpus:g}: the kernel would hold them back"
        )


def memory(workload: Workload) -> Iterator[str]:
    """Service, workers, the volume in memory, and the bodies that each worker may hold; models come on top."""
    limit, plan = workload.limit("memory"), workload.plan()
    if limit is None:
        yield "there is no limit of memory: the service could not see it coming to an end"
        return
    if plan is None:
        return
    # Beyond that share of it the largest worker is replaced.
    usable = int(limit * (workload.settings.lifecycle.recycle_at_memory or 1))
    weights = Weights(shared=_in_memory(workload))
    try:
        fitted = fit(plan, weights, usable)
    except DoesNotFit as error:
        yield str(error)
        return
    if fitted.workers < plan.workers:
        yield f"{fitted.reasons[-1]}; the CPU limit makes {some(plan.workers, 'worker')}"
    else:
        yield from _bodies_beyond(with_bodies(fitted, _wanted(workload), weights, usable).body_bytes, workload)


def _wanted(workload: Workload) -> Admission:
    """As if nothing were set by hand, which the plan would keep whether there is room or not."""
    settings = workload.settings
    most = max(settings.admission.max_bytes, settings.http.max_body_bytes)
    return Admission.model_construct(_fields_set=set(), max_bytes=most)


def _bodies_beyond(room: int, workload: Workload) -> Iterator[str]:
    """`room` is what the plan would give the bodies in each worker."""
    admission, largest = workload.settings.admission, workload.settings.http.max_body_bytes
    if "max_bytes" in admission.model_fields_set and admission.max_bytes > room:
        yield (
            f"ONNICORN_ADMISSION__MAX_BYTES is {admission.max_bytes}, expected at most the {room} for which there is "
            "memory: leave it out, and the plan takes what there is"
        )
    elif room < largest:
        yield (
            f"the limit of memory leaves {room} bytes for request bodies in each worker, expected at least "
            f"ONNICORN_HTTP__MAX_BODY_BYTES ({largest}): raise the limit, or lower that"
        )


def bodies(workload: Workload) -> Iterator[str]:
    """A body that is larger than all together may be would always be refused."""
    one, together = workload.settings.http.max_body_bytes, workload.settings.admission.max_bytes
    if together < one:
        yield f"ONNICORN_ADMISSION__MAX_BYTES is {together}, expected at least ONNICORN_HTTP__MAX_BODY_BYTES ({one})"


def run_directory(workload: Workload) -> Iterator[str]:
    """In memory, with a limit, and with room for the files of every process."""
    directory = workload.settings.run.dir
    volume = workload.volume_at(directory)
    if volume is None or dig(volume, "emptyDir", "medium") != "Memory":
        yield f"ONNICORN_RUN__DIR ({directory}) is on no emptyDir with medium Memory: metrics would wait for a disk"
        return
    size, plan = dig(volume, "emptyDir", "sizeLimit"), workload.plan()
    if size is None:
        yield f"volume {volume['name']!r} has no sizeLimit: it could take all of the container's memory"
    elif plan and quantity(size) < (needed := (plan.workers + _OTHERS) * _RUN_BYTES):
        yield (
            f"volume {volume['name']!r} has sizeLimit {size}, expected at least {needed // _MEBIBYTE}Mi for the metric "
            f"files of {plan.workers + _OTHERS} processes"
        )


def cache_directory(workload: Workload) -> Iterator[str]:
    """On disk: workers map what lies there, and the kernel may drop it when memory is short."""
    directory = workload.settings.cache.dir
    volume = workload.volume_at(directory)
    if dig(volume, "emptyDir", "medium") == "Memory":
        yield f"ONNICORN_CACHE__DIR ({directory}) is in memory: prepared models would count as used, for ever"
    elif volume is None and dig(workload.container, "securityContext", "readOnlyRootFilesystem"):
        yield f"ONNICORN_CACHE__DIR ({directory}) is on no volume, and the root file system is read-only"


def cache_room(workload: Workload) -> Iterator[str]:
    """A volume that outgrows its limit costs the pod its life, and the next pod's prepared models are as large."""
    settings = workload.settings
    models, cache = (workload.volume_at(path) for path in (settings.repository.path, settings.cache.dir))
    room, most = _on_disk(cache), _on_disk(models)
    if models and cache and room and most and room < _PREPARED * most:
        yield (
            f"volume {cache['name']!r} has sizeLimit {_mebibytes(room)}, expected at least "
            f"{_mebibytes(_PREPARED * most)}: prepared models take up to {_PREPARED} times what volume "
            f"{models['name']!r} may hold ({_mebibytes(most)}), and the pod would be evicted"
        )


def disk(workload: Workload) -> Iterator[str]:
    """When a node's disk is full, the first pods to go are those that took more than they had asked for.

    One that takes more than its limit goes at once.
    """
    asked = quantity(dig(workload.container, "resources", "requests", "ephemeral-storage", default=0))
    if asked < (needed := sum(_on_disk(volume) for volume in workload.pod.get("volumes", ()))):
        yield (
            f"the request of ephemeral-storage is {_mebibytes(asked)}, expected at least {_mebibytes(needed)}, which "
            "the volumes on disk may hold together (sizeLimit)"
        )
    if (most := workload.limit("ephemeral-storage")) is not None and most < needed:
        yield (
            f"the limit of ephemeral-storage is {_mebibytes(most)}, expected at least {_mebibytes(needed)}, which the "
            "volumes on disk may hold together (sizeLimit): the pod would be evicted"
        )


def devices(workload: Workload) -> Iterator[str]:
    """A device needs a provider that uses it, a provider a device, and one worker has it to itself."""
    asked = workload.limit(_DEVICE) or 0
    uses = not _DEVICE_PROVIDERS.isdisjoint(workload.settings.runtime.providers)
    workers = workload.settings.runtime.workers
    if asked and not uses:
        yield f"there is a device ({_DEVICE}), and none of ONNICORN_RUNTIME__PROVIDERS uses it"
    elif uses and not asked:
        yield f"ONNICORN_RUNTIME__PROVIDERS wants a device, and the limits have no {_DEVICE}"
    elif asked and workers != asked:
        yield f"ONNICORN_RUNTIME__WORKERS is {workers}, expected {asked:g}: one for each device"


def _on_disk(volume: Document | None) -> float:
    """Bytes that it may take of the node's disk; 0 where nothing limits it."""
    if dig(volume, "emptyDir", "medium") == "Memory":
        return 0
    return quantity(dig(volume, "emptyDir", "sizeLimit", default=0))


def _mebibytes(size: float) -> str:
    return f"{size / _MEBIBYTE:g}Mi"


def _in_memory(workload: Workload) -> int:
    """Bytes that the volume of the run directory may take of the container's memory."""
    volume: Document | None = workload.volume_at(workload.settings.run.dir)
    if dig(volume, "emptyDir", "medium") != "Memory":
        return 0
    return int(quantity(dig(volume, "emptyDir", "sizeLimit", default=0)))


CHECKS: Final = (cpu, memory, bodies, run_directory, cache_directory, cache_room, disk, devices)
