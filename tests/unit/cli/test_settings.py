"""`onnicorn settings`: every setting, what it is, where that comes from, what it does."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.settings import variables
from tests.unit.cli.conftest import Onnicorn

GIVEN = {"REPOSITORY__PATH", "CACHE__DIR"}  # by the fixture


def listed(onnicorn: Onnicorn, *arguments: str, **given: object) -> dict[str, dict[str, Any]]:
    result = onnicorn("settings", "--json", *arguments, **given)
    assert (result.exit_code, result.stderr) == (0, "")
    return {each.pop("variable"): each for each in json.loads(result.stdout)["settings"]}


def test_every_setting_is_listed(onnicorn: Onnicorn) -> None:
    settings = listed(onnicorn)
    assert list(settings) == list(variables())
    assert {name.removeprefix("ONNICORN_") for name, each in settings.items() if each["source"] != "default"} == GIVEN


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("HTTP__BIND", ("127.0.0.1:8000", "default", "", None, None, [])),
        ("HTTP__METRICS", ("true", "default", "", None, None, ["true", "false"])),
        ("HTTP__MAX_BODY_BYTES", (64 << 20, "default", "bytes", 1024, 2 << 30, [])),
        ("LIMITS__BODY_BYTES_PER_SECOND", (1024, "default", "bytes/s", 0, 1 << 30, [])),
        ("BATCHING__LINGER_MS", (2.5, "environment", "ms", 0, 1000, [])),
        ("LIFECYCLE__DRAIN_SECONDS", (5, "default", "s", 0, 600, [])),
        ("CACHE__KEEP_DAYS", (7, "default", "days", 0, 3650, [])),
        ("LOG__LEVEL", ("info", "default", "", None, None, ["debug", "info", "warning", "error"])),
        ("ADMISSION__OVERLOAD_STATUS", (503, "default", "", None, None, ["503", "429"])),
        ("RUNTIME__WORKERS", (None, "default", "", 1, 128, [])),
        ("HTTP__CORS_ORIGINS", ("http://a,http://b", "environment", "", None, None, [])),
    ],
)
def test_a_setting_is_told_whole(onnicorn: Onnicorn, variable: str, expected: tuple[Any, ...]) -> None:
    settings = listed(onnicorn, BATCHING__LINGER_MS="2.5", HTTP__CORS_ORIGINS='["http://a", "http://b"]')
    setting = settings[f"ONNICORN_{variable}"]
    assert setting["effect"].endswith(".")
    names = ("value", "source", "unit", "least", "most", "choices")
    assert tuple(setting[name] for name in names) == expected


def test_where_the_keys_lie_is_not_shown(onnicorn: Onnicorn) -> None:
    result = onnicorn("settings", ACCESS__KEYS="/srv/secret")
    assert "ONNICORN_ACCESS__KEYS=***  (environment)" in result.stdout
    assert "secret" not in result.stdout


def test_a_platforms_variable_is_named_as_the_source(onnicorn: Onnicorn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    setting = listed(onnicorn)["ONNICORN_RUNTIME__WORKERS"]
    assert (setting["value"], setting["source"]) == (3, "WEB_CONCURRENCY")


@pytest.mark.parametrize(
    ("pattern", "variables"),
    [
        ("batching", ["BATCHING__MAX_ROWS", "BATCHING__LINGER_MS"]),
        ("ops.bind", ["OPS__BIND"]),
        ("lifecycle.*_memory", ["LIFECYCLE__RECYCLE_AT_MEMORY"]),
        ("ONNICORN_LOG__LEVEL", ["LOG__LEVEL"]),
    ],
)
def test_a_pattern_chooses(onnicorn: Onnicorn, pattern: str, variables: list[str]) -> None:
    assert list(listed(onnicorn, pattern)) == [f"ONNICORN_{name}" for name in variables]


def test_people_read_two_lines_of_each(onnicorn: Onnicorn, root: Path) -> None:
    assert onnicorn("settings", "keep_alive").stdout == (
        "ONNICORN_HTTP__KEEP_ALIVE_SECONDS=75 s  (default)\n"
        "    How long an idle connection stays open; longer than the balancer's own limit. 1 to 3,600.\n"
    )
    assert onnicorn("settings", "repository.path").stdout.startswith(
        f"ONNICORN_REPOSITORY__PATH={root}  (environment)\n"
    )
    assert onnicorn("settings", "repository.name").stdout.startswith(
        "ONNICORN_REPOSITORY__NAME is not set  (default)\n"
    )
    assert onnicorn("settings", "compress").stdout.endswith(" 0 or more.\n")
    assert onnicorn("settings", "log.format").stdout.endswith(" One of auto, json, console.\n")


def test_what_is_wrong_is_said_beside_the_rest(onnicorn: Onnicorn) -> None:
    result = onnicorn("settings", "log.level", LOG__LEVEL="loud")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (1, "ONNICORN_LOG__LEVEL=info  (default)")
    assert result.stderr.startswith("onnicorn: ONNICORN_LOG__LEVEL=loud: ")


def test_a_pattern_that_nothing_matches_is_a_mistake(onnicorn: Onnicorn) -> None:
    result = onnicorn("settings", "btaching")
    assert result.exit_code == 1
    assert result.stderr == "onnicorn: no setting matches 'btaching'; `onnicorn settings` lists all of them\n"
