"""Prometheus reads the rules; every alert fires and does not fire; each has its paragraph in the runbook."""

import re
from pathlib import Path

import pytest
from prometheus_client import Histogram
from prometheus_client.utils import floatToGoString

from service.telemetry import metrics
from tests.deploy.programs import output, program

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
WATCHED = (PROMETHEUS / "rules" / "alerts.yml").read_text()
ALERTS = re.findall(r"^ *- alert: (\w+)$", WATCHED, re.MULTILINE)
RUNBOOK = (ROOT / "deploy" / "RUNBOOK.md").read_text()
BOUNDS = {
    each._name: [floatToGoString(bound) for bound in each._upper_bounds]  # type: ignore[no-untyped-call]
    for each in vars(metrics).values()
    if isinstance(each, Histogram)
}
SECTION = r"^### {}\n(.+?)(?=^##|\Z)"


@pytest.fixture(scope="module")
def promtool() -> str:
    return program("promtool", "prometheus")


def test_the_configuration_and_its_rules_are_read(promtool: str) -> None:
    assert "SUCCESS" in output(promtool, "check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_the_rules_have_no_lint(promtool: str) -> None:
    output(promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_what_is_said_of_the_rules_is_so(promtool: str, path: Path) -> None:
    output(promtool, "test", "rules", str(path))


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_seen_firing_in_its_tests(alert: str) -> None:
    """That it does not fire is in them too: what a test expects is all that fires, not some of it."""
    assert any(f'alertname="{alert}", alertstate="firing"' in path.read_text() for path in TESTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_how_bad_and_where_to_read_on(alert: str) -> None:
    text = WATCHED.partition(f"- alert: {alert}\n")[2].partition("- alert:")[0]
    assert re.search(r"labels: \{severity: (critical|warning)\}", text)
    assert all(f"{name}: " in text for name in ("summary", "description"))
    assert f"runbook_url: deploy/RUNBOOK.md#{alert.lower()}\n" in text


@pytest.mark.parametrize("alert", ALERTS)
def test_the_runbook_tells_what_an_alert_means_what_to_look_at_and_what_to_do(alert: str) -> None:
    section = re.search(SECTION.format(alert), RUNBOOK, re.MULTILINE | re.DOTALL)
    assert section, f"deploy/RUNBOOK.md: expected a section ### {alert}"
    assert [part for part in ("**Means.**", "**Look at**", "**Do**") if part not in section[1]] == []


def test_the_runbook_has_no_alert_that_is_not() -> None:
    assert sorted(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)) == sorted(ALERTS)


def test_the_bounds_that_rules_ask_for_are_bounds_that_there_are() -> None:
    for name, bound in re.findall(r'onnicorn_(\w+)_bucket\{[^}]*le="([^"]+)"', "".join(map(Path.read_text, RULES))):
        assert bound in BOUNDS[f"onnicorn_{name}"], f"{name}: le={bound!r} is no bound"


def test_the_runbook_lists_the_bounds_of_which_one_may_be_the_objective() -> None:
    listed = re.search(r"written just so: (.+?)\. With", RUNBOOK, re.DOTALL)
    assert listed
    bounds = [*re.findall(r"`([^`]+)`", listed[1]), "+Inf"]
    assert bounds == BOUNDS["onnicorn_http_request_duration_seconds"]
