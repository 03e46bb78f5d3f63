"""Write the Grafana dashboard: `python -m tools.dashboard`.

A dashboard is a page of JSON for each panel, of which three lines matter: its title, its queries and its unit. Those
are in `tools/panels.py`; the rest, the same for all, is here.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Final

from tools.panels import ALL, ROWS, SERVICE, Panel

DASHBOARD: Final = Path(__file__).parent.parent / "deploy" / "grafana" / "dashboard.json"

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
_HEIGHT: Final = 8
_OPTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "graphMode": "area"},
    "table": {"showHeader": True},
}


def main() -> None:
    DASHBOARD.write_text(render())


def render() -> str:
    return json.dumps(_dashboard(), indent=2) + "\n"


def _dashboard() -> dict[str, Any]:
    return {
        "uid": "onnicorn",
        "title": "Onnicorn",
        "tags": ["onnicorn"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,  # one cross-hair for all panels
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    """What one chooses on top of the page."""
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    # One, not several: jobs of two namespaces have one name. Where nobody gives a namespace there is none to choose,
    # and the empty text that is asked for then is what Prometheus takes for a missing label.
    yield _variable("namespace", "Namespace", "label_values(onnicorn_build_info, namespace)", several=False)
    of_namespace = 'onnicorn_build_info{namespace=~"$namespace"}'
    yield _variable("job", "Service", f"label_values({of_namespace}, job)", several=False)
    yield _variable("instance", "Instance", f"label_values(onnicorn_build_info{{{SERVICE}}}, instance)")
    yield _variable("model", "Model", f"label_values(onnicorn_model_info{{{ALL}}}, model)")


def _variable(name: str, label: str, query: str, several: bool = True) -> dict[str, Any]:
    # Each time the range changes: instances come and go.
    common = {"name": name, "label": label, "type": "query", "datasource": _DATASOURCE, "refresh": 2, "sort": 1}
    chosen = {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return {**common, "query": {"query": query, "refId": name}, "definition": query, **(chosen if several else {})}


def _panels() -> Iterator[dict[str, Any]]:
    """Left to right, then down."""
    y, number = 0, 1
    for title, panels in ROWS.items():
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _place(0, y, _WIDTH, 1),
        }
        number, x, y = number + 1, 0, y + 1
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y = 0, y + _HEIGHT
            yield {"id": number, **_panel(panel), "gridPos": _place(x, y, panel.width, _HEIGHT)}
            number, x = number + 1, x + panel.width
        y += _HEIGHT


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.stacked:
        defaults["custom"] = {"fillOpacity": 20, "stacking": {"mode": "normal", "group": "A"}}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [
            _target(panel.kind, legend, query, letter)
            for (legend, query), letter in zip(panel.queries.items(), ascii_uppercase, strict=False)
        ],
    }


def _target(kind: str, legend: str, query: str, letter: str) -> dict[str, Any]:
    shape = {"instant": True, "range": False, "format": "table"} if kind == "table" else {"range": True}
    return {"refId": letter, "datasource": _DATASOURCE, "expr": query, "legendFormat": legend, **shape}


if __name__ == "__main__":
    main()
