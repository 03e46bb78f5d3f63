"""Rendered manifests as documents, and the numbers that Kubernetes writes as text."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import yaml

Document = dict[str, Any]

_SUFFIXES: Final = {
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    "m": Decimal("0.001"),
}


class Unreadable(Exception):
    """What came is not what `kubectl kustomize` prints, or not what Kubernetes understands."""


def read(text: str) -> list[Document]:
    """Every object of a stream of YAML; those inside a List too. Raises Unreadable."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise Unreadable(f"expected YAML as `kubectl kustomize` prints it: {error}") from None
    for document in documents:
        if not isinstance(document, dict) or "kind" not in document:
            raise Unreadable(f"expected objects with a kind, got {str(document)[:60]!r}")
    return list(_flat(documents))


def _flat(documents: Iterable[Document]) -> Iterator[Document]:
    for document in documents:
        if document["kind"] == "List":
            yield from _flat(document.get("items") or ())
        else:
            yield document


def of_kind(documents: Sequence[Document], *kinds: str) -> Iterator[Document]:
    return (document for document in documents if document["kind"] in kinds)


def title(document: Document) -> str:
    """`Deployment/onnicorn`."""
    return f"{document['kind']}/{document['metadata']['name']}"


def dig(document: Any, *path: str, default: Any = None) -> Any:
    """`document[path[0]][path[1]]...`, or the default where something is missing on the way."""
    for key in path:
        if not isinstance(document, dict) or document.get(key) is None:
            return default
        document = document[key]
    return document


def quantity(text: str | int | float) -> float:
    """`512Mi` in bytes, `1200m` in whole CPUs. Raises Unreadable."""
    written = str(text)
    suffix = next((suffix for suffix in _SUFFIXES if written.endswith(suffix)), "")
    try:
        return float(Decimal(written.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1))
    except InvalidOperation:
        raise Unreadable(f"expected a quantity such as 500m or 512Mi, got {written!r}") from None
