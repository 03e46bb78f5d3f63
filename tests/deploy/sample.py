"""A deployment whose numbers agree, each of them just so, for tests to change one."""

import re
from collections.abc import Mapping
from typing import Any

from tools.manifests.__main__ import faults
from tools.manifests.documents import Document, read

SETTINGS = {
    "ONNICORN_HTTP__BIND": "0.0.0.0:8000",
    "ONNICORN_OPS__BIND": "0.0.0.0:8002",
    "ONNICORN_REPOSITORY__PATH": "/models",
    "ONNICORN_CACHE__DIR": "/cache",
    "ONNICORN_RUN__DIR": "/run/service",
    "ONNICORN_LIFECYCLE__DRAIN_SECONDS": "10",
    "ONNICORN_LIFECYCLE__FINISH_SECONDS": "20",
    "ONNICORN_LIFECYCLE__RUN_SECONDS": "18",
    "ONNICORN_LIFECYCLE__LOAD_SECONDS": "60",
}
GOOD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: ns}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: service, namespace: ns}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata: {labels: {app: service}}
    spec:
      terminationGracePeriodSeconds: 40
      containers:
        - name: service
          envFrom: [{configMapRef: {name: settings}}]
          ports: [{name: http, containerPort: 8000}, {name: ops, containerPort: 8002}]
          startupProbe:
            httpGet: {path: /startupz, port: ops}
            periodSeconds: 2
            failureThreshold: 60
            terminationGracePeriodSeconds: 15
          readinessProbe: {httpGet: {path: /readyz, port: ops}, periodSeconds: 2, failureThreshold: 2}
          livenessProbe:
            httpGet: {path: /livez, port: 8002}
            periodSeconds: 5
            timeoutSeconds: 2
            terminationGracePeriodSeconds: 15
          resources: {requests: {ephemeral-storage: 7184Mi}, limits: {cpu: 2, memory: 747Mi}}
          securityContext: {readOnlyRootFilesystem: true}
          volumeMounts:
            - {name: run, mountPath: /run}
            - {name: cache, mountPath: /cache}
            - {name: models, mountPath: /models}
      volumes:
        - {name: run, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
        - {name: cache, emptyDir: {sizeLimit: 5Gi}}
        - {name: models, emptyDir: {sizeLimit: 2Gi}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: service, namespace: ns}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: service}}}
"""
GONE = object()
"""In place of a value: the key is taken out."""


def with_settings(values: Mapping[str, str]) -> list[Document]:
    documents = read(GOOD)
    documents[0]["data"] = {**SETTINGS, **values}
    return documents


def of(documents: list[Document]) -> dict[str, Any]:
    """The parts that tests change, by short names."""
    deployment = documents[1]["spec"]
    pod = deployment["template"]["spec"]
    return {
        "deployment": deployment,
        "pod": pod,
        "container": pod["containers"][0],
        "run": pod["volumes"][0]["emptyDir"],
        "cache": pod["volumes"][1]["emptyDir"],
        "models": pod["volumes"][2]["emptyDir"],
        "budget": documents[2]["spec"],
    }


def change(parts: dict[str, Any], path: str, value: Any) -> None:
    *outer, key = re.split(r"\.(?!com/)", path)
    for name in outer:
        parts = parts[name]
    if value is GONE:
        del parts[key]
    else:
        parts[key] = value


def told(documents: list[Document]) -> list[str]:
    return [fault.removeprefix("Deployment/service: ") for fault in faults(documents)]
