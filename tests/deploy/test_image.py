"""Dockerfile and compose.yaml against what the service says of itself. Building and running is .ci/image's part."""

import http.server
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.settings import Settings, variables

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "deploy/compose.yaml").read_text()


def settings_of(text: str) -> dict[str, str]:
    """What a file sets of ours, quoted or not, as `NAME=value` or `NAME: value`."""
    return dict(re.findall(r'^ +"?(ONNICORN_\w+)(?:=|: )"?([^\s"]+)', text, re.MULTILINE))


def test_the_images_variables_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings_of(DOCKERFILE) | settings_of(COMPOSE)
    assert given.keys() <= variables().keys()
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment(given)
    assert (settings.http.bind, settings.ops.bind) == ("0.0.0.0:8000", "0.0.0.0:8002")
    assert (settings.repository.path, settings.cache.dir) == (Path("/models"), Path("/var/cache/onnicorn"))


def test_all_that_the_package_is_built_of_is_copied_to_where_it_is_built() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = " ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)).split()
    assert {"pyproject.toml", "service", project["readme"], *project["license-files"]} <= {*copied}


def test_compose_keeps_what_the_image_calls_its_own() -> None:
    mounted = re.findall(r"^ +- \S+:(/models|/var/cache/onnicorn)(?::ro)?$", COMPOSE, re.MULTILINE)
    assert mounted == [settings_of(DOCKERFILE)[name] for name in ("ONNICORN_REPOSITORY__PATH", "ONNICORN_CACHE__DIR")]


def test_compose_builds_on_the_same_base() -> None:
    (ours,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"BASE_IMAGE: ${{BASE_IMAGE:-{ours}}}\n" in COMPOSE


def test_compose_waits_for_a_drain_before_it_kills() -> None:
    (grace,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    lifecycle = Settings().lifecycle
    assert int(grace) >= lifecycle.drain_seconds + lifecycle.finish_seconds + 5


def test_compose_lets_a_start_take_as_long_as_the_service_does() -> None:
    (period,) = re.findall(r"start_period: (\d+)s", COMPOSE)
    assert int(period) > 2 * Settings().lifecycle.load_seconds, "preparing and loading"


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A port that answers every GET with `status`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_composes_health_check_says_what_readiness_says(status: int, healthy: bool) -> None:
    (check,) = re.findall(r"^ +- (import http.*)$", COMPOSE, re.MULTILINE)
    assert check.count("8002") == 1
    with answering(status) as port:
        done = subprocess.run([sys.executable, "-c", check.replace("8002", str(port))], check=False)
    assert (done.returncode == 0) == healthy


def test_its_commands_leave_no_shell_before_the_service() -> None:
    runtime = DOCKERFILE.rpartition("\nFROM ")[2]
    commands = re.findall(r"^(?:RUN|CMD|ENTRYPOINT) (.)", runtime, re.MULTILINE)
    assert commands == ["["] * 4
