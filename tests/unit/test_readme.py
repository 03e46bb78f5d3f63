"""The README is true: its tables are the code's, and what its requests are answered is what it shows."""

import json
import re
import shlex
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.settings import Settings
from service.web.app import create_app
from tools import readme

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "README.md").read_text()


@pytest.fixture
def plain_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables have the defaults of a machine where nobody has moved the caches."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.mark.usefixtures("plain_home")
def test_the_tables_are_the_codes() -> None:
    assert readme.render(TEXT) == TEXT


@pytest.mark.usefixtures("plain_home")
def test_a_table_that_is_not_the_codes_is_found() -> None:
    assert readme.render(TEXT.replace("`ONNICORN_HTTP__BIND` |", "`ONNICORN_HTTP__BEND` |")) == TEXT


@pytest.mark.parametrize("name", ["first request", "typed request"])
def test_a_request_gets_the_answer_that_is_shown(cache_dir: Path, name: str) -> None:
    match = re.search(rf"<!-- {name} -->\n```console\n\$ (.+)\n(.+)\n```\n<!-- /{name} -->", TEXT)
    assert match
    command, shown = shlex.split(match[1]), match[2]
    url, body = command[2], command[4]
    app = create_app(Settings(repository={"path": ROOT / "models"}, cache={"dir": cache_dir}))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        answer = client.post(url, content=body)
    assert answer.json() == json.loads(shown)
