"""Which pace of burning for how long is told of: each pair of windows by itself, and just short of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.programs import output, program
from tests.deploy.test_rules import RULES

HOURS = 73
STEP_MINUTES = 2
# Requests in a step, of which one in a thousand may fail and one in a hundred be slow.
REQUESTS = 10_000
ROUTE = 'route="/v2/models/{model_name}/infer"'


@dataclass(frozen=True)
class Phase:
    """For so many hours the budget is spent `pace` times as fast as it lasts, by so much traffic."""

    hours: float
    pace: float = 0
    traffic: float = 1


# Two days beside which all that comes later is little, so that the window of three days sees nothing of it.
BUSY = Phase(48, traffic=20)
FAST, SLOWLY, NOBODY = "Fast", "Slowly", ""
# What came, the last phase until now; before the first all was well. And who is told.
BURNS = {
    "14.4 within an hour": ([Phase(1, 20)], FAST),
    "not quite 14.4 within an hour": ([Phase(1.5, 14)], NOBODY),
    "too short for an hour": ([Phase(10 / 60, 30)], NOBODY),
    "within an hour, and over for ten minutes": ([Phase(50 / 60, 30), Phase(10 / 60)], NOBODY),
    "6 within six hours, with a pause of ten minutes": ([Phase(6.5, 10), Phase(10 / 60)], FAST),
    "not quite 6 within six hours": ([Phase(7, 5.5)], NOBODY),
    "within six hours, and over for most of one": ([Phase(5, 10), Phase(45 / 60)], NOBODY),
    "3 within a day, with a pause of half an hour": ([BUSY, Phase(24.5, 5), Phase(0.5)], SLOWLY),
    "not quite 3 within a day": ([BUSY, Phase(25, 2.8)], NOBODY),
    "within a day, and over for more than two hours": ([BUSY, Phase(10), Phase(12, 8), Phase(2.5)], NOBODY),
    "1 within three days, with a pause of an hour": ([Phase(72, 2), Phase(1)], SLOWLY),
    "not quite 1 within three days": ([Phase(73, 0.8)], NOBODY),
    "within three days, and over for seven hours": ([Phase(48, 2.5), Phase(7)], NOBODY),
    "nine within an hour, where few come": ([Phase(72, 0, 2e-5), Phase(1, 100, 3e-5)], NOBODY),
}


def series(job: str, phases: list[Phase]) -> Iterator[dict[str, str]]:
    """The counters of one job. Each phase begins at 0, as after a restart."""
    first = Phase(HOURS - sum(phase.hours for phase in phases))
    phases = [phase for phase in (first, *phases) if phase.hours > 0]

    def counter(name: str, share: float, of_pace: float) -> dict[str, str]:
        values = []
        for phase in phases:
            rise = REQUESTS * phase.traffic * (share + of_pace * phase.pace)
            values.append(f"0+{rise:.5f}x{phase.hours * 60 / STEP_MINUTES - 1:.0f}")
        return {"series": name.replace("{", f'{{job="{job}", {ROUTE}, ', 1), "values": " ".join(values)}

    yield counter('onnicorn_http_requests_total{status="200"}', 1, -0.001)
    yield counter('onnicorn_http_requests_total{status="500"}', 0, 0.001)
    yield counter('onnicorn_http_request_duration_seconds_count{outcome="ok"}', 1, 0)
    yield counter('onnicorn_http_request_duration_seconds_bucket{outcome="ok", le="0.5"}', 1, -0.01)


def told(job: str, pace: str) -> Iterator[dict[str, Any]]:
    severity = {FAST: "critical", SLOWLY: "warning"}[pace]
    for alert in (f"OnnicornErrorsBurn{pace}", f"OnnicornLatencyBurns{pace}"):
        labels = {"alertname": alert, "alertstate": "firing", "job": job, "severity": severity}
        pairs = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        yield {"labels": f"ALERTS{{{pairs}}}", "value": 1}


@pytest.fixture
def promtool() -> str:
    return program("promtool", "prometheus")


def test_who_burns_how_fast_and_for_how_long_is_told_of_by_the_pair_of_windows_that_is_there_for_it(
    promtool: str, tmp_path: Path
) -> None:
    document = {
        "rule_files": list(map(str, RULES)),
        # Seldom, since three days are long; then whatever is recorded must be there before it is asked for.
        "evaluation_interval": "10m",
        "group_eval_order": [
            group["name"] for path in reversed(RULES) for group in yaml.safe_load(path.read_text())["groups"]
        ],
        "tests": [
            {
                "interval": f"{STEP_MINUTES}m",
                "input_series": [one for job, (phases, _) in BURNS.items() for one in series(job, phases)],
                "promql_expr_test": [
                    {
                        "expr": 'ALERTS{alertname=~"Onnicorn(Errors|Latency).*", alertstate="firing"}',
                        "eval_time": f"{HOURS}h",
                        "exp_samples": [one for job, (_, pace) in BURNS.items() if pace for one in told(job, pace)],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "burns.yml"
    file.write_text(yaml.safe_dump(document))
    output(promtool, "test", "rules", str(file))
