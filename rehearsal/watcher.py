"""Prometheus, with the project's own rules where they are; what it has seen fire."""

import json
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from rehearsal.copies import Slot
from rehearsal.process import OPENER, Failed


def configuration(slots: Iterable[Slot], rules: Path) -> str:
    """JSON, which is YAML. Scraped every second: a rehearsal is short."""
    return json.dumps(
        {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules / "*.yml")] if rules.is_dir() else [],
            "scrape_configs": [
                {
                    "job_name": "onnicorn",
                    "static_configs": [{"targets": [f"127.0.0.1:{slot.ops}" for slot in slots]}],
                }
            ],
        }
    )


def query(address: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each series. Raises Failed where nobody answers."""
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with OPENER.open(url, timeout=10) as answer:
            series = json.load(answer)["data"]["result"]
    except OSError as error:
        raise Failed(f"Prometheus does not answer: {error}") from None
    return [(each["metric"], float(each["value"][1])) for each in series]


def alerts(address: str, state: str) -> list[str]:
    """Each that was `firing`, or `pending`, at some time, with for how many seconds."""
    found = query(address, f'max by (alertname) (count_over_time(ALERTS{{alertstate="{state}"}}[1h]))')
    return sorted(f"{labels['alertname']} ({value:.0f} s)" for labels, value in found)
