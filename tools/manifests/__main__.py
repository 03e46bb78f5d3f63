"""`python -m tools.manifests [FILE ...]`: reads rendered manifests, or standard input; one line for each fault."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from service.errors import SettingsError
from tools.manifests import autoscalers, ending, preparation, probes, replicas, resources, wiring
from tools.manifests.documents import Document, Unreadable, read
from tools.manifests.workload import workloads

CHECKS = (
    *ending.CHECKS,
    *probes.CHECKS,
    *resources.CHECKS,
    *replicas.CHECKS,
    *autoscalers.CHECKS,
    *wiring.CHECKS,
    *preparation.CHECKS,
)


def faults(documents: Sequence[Document]) -> Iterator[str]:
    """A sentence for each number that does not agree with the others."""
    try:
        found = list(workloads(documents))
    except SettingsError as error:
        yield str(error)
        return
    if not found:
        yield (
            "no Deployment and no InferenceService has a container with ONNICORN_* settings, its own or those of a "
            "ConfigMap among the documents"
        )
    for workload in found:
        for check in CHECKS:
            yield from (f"{workload.title}: {fault}" for fault in check(workload))


def main(arguments: Sequence[str]) -> int:
    try:
        texts = [sys.stdin.read() if name == "-" else Path(name).read_text() for name in arguments or ("-",)]
        wrong = list(faults([document for text in texts for document in read(text)]))
    except (OSError, UnicodeDecodeError) as error:
        wrong = [f"expected files of what `kubectl kustomize` prints: {error}"]
    except Unreadable as error:
        wrong = [str(error)]
    for fault in wrong:
        print(fault, file=sys.stderr)
    if not wrong:
        print(f"settings and manifests agree: {len(CHECKS)} checks")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
