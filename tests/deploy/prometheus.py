"""A real Prometheus with the shipped configuration, in a hurry."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.programs import adapted, program, serving
from tests.process.conftest import client, free_addresses

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
_DISCOVERY = """\
    dns_sd_configs:
      - names: [onnicorn]
        type: A
        port: 8002
"""


class Prometheus:
    """What is asked of it."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get(self, path: str, **parameters: str) -> Any:
        with client(self._address) as api:
            answer = api.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def values(self, query: str) -> list[float]:
        """Of all series that the query has now, numbers only."""
        values = [float(series["value"][1]) for series in self.get("query", query=query)["result"]]
        return [value for value in values if not math.isnan(value)]

    def firing(self, alert: str) -> list[str]:
        """The summaries of such alerts."""
        alerts = [one for one in self.get("alerts")["alerts"] if one["labels"]["alertname"] == alert]
        return [one["annotations"]["summary"] for one in alerts if one["state"] == "firing"]


@contextmanager
def watching(ops: str, folder: Path) -> Iterator[Prometheus]:
    """It scrapes the address, and evaluates all rules, once a second."""
    binary, (address, _) = program("prometheus", "prometheus"), free_addresses()
    changes = {
        _DISCOVERY: f'    static_configs:\n      - targets: ["{ops}"]\n',
        "15s": "1s",
        "rules/*.yml": str(SHIPPED / "rules" / "*.yml"),
    }
    configuration = folder / "prometheus.yml"
    configuration.write_text(adapted((SHIPPED / "prometheus.yml").read_text(), changes))
    options = (f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn")
    with serving(address, folder, binary, *options, f"--web.listen-address={address}", probe="/-/ready"):
        yield Prometheus(address)
