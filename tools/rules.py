"""Prometheus's rule files, as the one object that the Prometheus Operator wants them in.

They are written once, in deploy/prometheus/rules, for a Prometheus that reads files; the operator reads none.
"""

from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ROOT / "deploy/prometheus/rules"
TARGET: Final = ROOT / "k8s/monitoring/prometheusrule.yaml"
_HEAD: Final = "# Made by `make rules` from deploy/prometheus/rules: change those.\n"


class _Dumper(yaml.SafeDumper):
    """Keeps text of several lines readable."""


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    node: yaml.Node = dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
    return node


_Dumper.add_representer(str, _text)


def prometheus_rule() -> str:
    """The object, as YAML."""
    files = sorted(SOURCES.glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "onnicorn", "labels": {"app.kubernetes.io/name": "onnicorn"}},
        "spec": {"groups": groups},
    }
    written: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return _HEAD + written


if __name__ == "__main__":
    TARGET.write_text(prometheus_rule())
