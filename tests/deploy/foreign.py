"""The kinds that operators bring to a cluster, and the schemas of what the manifests use of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema_rs import Draft202012Validator

from tools.manifests.documents import Document

_DEFINITIONS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("foreign.yaml").read_text())["$defs"]
KINDS = frozenset(name for name in _DEFINITIONS if name[0].isupper())


def faults(document: Document) -> list[str]:
    """A sentence for each field that its kind does not know, or knows otherwise."""
    schema = {"$ref": f"#/$defs/{document['kind']}", "$defs": _DEFINITIONS}
    return [
        f"{'.'.join(str(part) for part in error.instance_path)}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(document)
    ]


def pods(documents: Sequence[Document]) -> list[Document]:
    """What a runtime of KServe says of its pods, as the Pod that Kubernetes makes of it."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": document["metadata"],
            "spec": {key: document["spec"][key] for key in ("containers", "volumes")},
        }
        for document in documents
        if document["kind"] == "ServingRuntime"
    ]
