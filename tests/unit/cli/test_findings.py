"""What `onnicorn check` has found: what is shown, counted, and heard from the service's own log."""

from collections.abc import Iterator

import pytest
import structlog

from service.cli.findings import Finding, Findings, Level
from service.errors import SettingsError


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_what_is_found_is_shown_at_once_and_once() -> None:
    shown: list[Finding] = []
    findings = Findings(shown.append)
    findings.ok("cat", "is there")
    findings.warn("cat", "sleeps", "wake it")
    findings.ok("cat", "is there")
    assert (
        shown == findings.all == [Finding(Level.OK, "cat", "is there"), Finding(Level.WARN, "cat", "sleeps", "wake it")]
    )
    assert [findings.count(level) for level in Level] == [1, 1, 0]


def test_what_would_end_the_start_is_found_and_nothing_ends() -> None:
    findings = Findings()
    with findings.about("settings"):
        raise SettingsError("one is wrong")
    assert findings.all == [Finding(Level.FAIL, "settings", "one is wrong")]


@pytest.mark.parametrize(
    ("event", "facts", "finding"),
    [
        (
            "not_prepared",
            {"model": "cat", "version": 2, "reason": "no room", "cost": "it starts slower"},
            Finding(Level.WARN, "cat/2", "not prepared: no room", "it starts slower"),
        ),
        ("model_odd", {"model": "cat", "hint": "look"}, Finding(Level.WARN, "cat", "model odd", "look")),
        (
            "files_few",
            {"files": 3, "asked": 9, "hint": "raise it"},
            Finding(Level.WARN, "service", "files few: files 3, asked 9", "raise it"),
        ),
    ],
)
def test_what_the_service_would_warn_of_is_found(event: str, facts: dict[str, object], finding: Finding) -> None:
    before = structlog.get_config()
    with Findings().hearing() as findings:
        structlog.get_logger().warning(event, **facts)
    assert findings.all == [finding]
    assert structlog.get_config() == before


def test_what_it_would_call_an_error_fails() -> None:
    with Findings().hearing() as findings:
        structlog.get_logger().error("broken")
    assert findings.all == [Finding(Level.FAIL, "service", "broken")]


def test_a_line_says_what_to_do() -> None:
    assert str(Finding(Level.OK, "cat", "is there")).endswith("  cat: is there")
    assert str(Finding(Level.WARN, "cat", "sleeps", "wake it")).endswith("  cat: sleeps; wake it")
