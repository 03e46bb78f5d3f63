"""`onnicorn serve`: what Gunicorn is given. That it becomes Gunicorn is tests/process/test_serve.py's."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from service.cli.serve import from_anywhere
from service.knobs import Access, Cache, Repository
from service.settings import Settings
from tests.unit.cli.conftest import Onnicorn

HERE = Path("/srv/project")
SETTINGS = Settings(repository=Repository(path=Path("/models")), cache=Cache(dir=Path("/cache")))
MODELS = {"ONNICORN_REPOSITORY__PATH": "/models"}


def test_what_is_absolute_already_stays_as_it_is() -> None:
    environment = {"ONNICORN_REPOSITORY__PATH": "/models", "PATH": "bin:/bin", "GUNICORN_CMD_ARGS": ""}
    assert from_anywhere(SETTINGS, environment, HERE) == environment


def test_settings_that_name_files_are_found_from_anywhere() -> None:
    settings = Settings(
        repository=Repository(path=Path("../models")),
        cache=Cache(dir=Path("cache")),
        access=Access(keys=Path("keys.toml")),
    )
    environment = {"onnicorn_cache__dir": "cache", "ONNICORN_ACCESS__KEYS": "keys.toml", "LANG": "C"}
    assert from_anywhere(settings, environment, HERE) == {
        "LANG": "C",
        "ONNICORN_REPOSITORY__PATH": "/srv/project/../models",
        "ONNICORN_CACHE__DIR": "/srv/project/cache",
        "ONNICORN_ACCESS__KEYS": "/srv/project/keys.toml",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--certfile a.pem --keyfile=tls/b.pem", "--certfile /srv/project/a.pem --keyfile=/srv/project/tls/b.pem"),
        ("--ca-certs /etc/ca.pem --cert-reqs 2", "--ca-certs /etc/ca.pem --cert-reqs 2"),
        ("-p 'a pid' --backlog 64", "-p '/srv/project/a pid' --backlog 64"),
    ],
)
def test_so_are_the_files_among_gunicorns_options(given: str, expected: str) -> None:
    environment: Mapping[str, str] = {"GUNICORN_CMD_ARGS": given}
    assert from_anywhere(SETTINGS, environment, HERE) == MODELS | {"GUNICORN_CMD_ARGS": expected}


def test_a_repository_of_the_command_line_is_the_services() -> None:
    environment = {"ONNICORN_REPOSITORY__PATH": "other", "onnicorn_repository__path": "third"}
    assert from_anywhere(SETTINGS, environment, HERE) == MODELS


def test_options_that_cannot_be_read_are_a_mistake_in_one_line(
    onnicorn: Onnicorn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--certfile 'cert.pem")
    result = onnicorn("serve")
    assert (result.exit_code, result.stderr) == (
        1,
        "onnicorn: GUNICORN_CMD_ARGS=--certfile 'cert.pem: no closing quotation\n",
    )
