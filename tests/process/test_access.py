"""Keys in the whole service: every worker knows the same clients at the same moment, and no key is written anywhere."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from service.access import digest_of, new_key
from tests.oip import assert_problem
from tests.process.conftest import Service, client, exit_code, launched, running, wait_until_gone
from tests.process.double import INFER, ONES, serve_double
from tests.process.keys import write_keys

ONE, TWO = new_key(), new_key()


def statuses(service: Service, path: str = "/v2", times: int = 8) -> dict[str, set[int]]:
    """For each key, what it gets from the workers: over a new connection each time, so that all are asked."""
    found: dict[str, set[int]] = {ONE: set(), TWO: set()}
    for key, seen in found.items():
        for _ in range(times):
            with client(service.api) as api:
                seen.add(api.get(path, headers={"X-API-Key": key}).status_code)
    return found


def reload(service: Service, position: int) -> None:
    """The end of the reload is that of the wish with this number."""
    service.process.send_signal(signal.SIGHUP)
    ended = ("reloaded", "reload_refused")
    service.wait_until(
        lambda: len([record for record in service.records() if record["event"] in ended]) == position, "reloaded"
    )


def test_keys_are_changed_by_a_reload_in_all_workers_and_broken_ones_change_nothing(tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys.toml", {"one": ("infer metadata", ONE)})
    with running(serve_double(tmp_path), tmp_path, ONNICORN_ACCESS__KEYS=str(file)) as service:
        assert service.get("/v2/health/ready").status_code == 200
        assert_problem(service.get("/metrics"), 401, "unauthenticated", "X-API-Key")
        assert service.probe("/metrics").status_code == 200
        assert statuses(service) == {ONE: {200}, TWO: {401}}

        write_keys(file, {"two": ("metadata", TWO)})
        reload(service, 1)
        assert statuses(service) == {ONE: {401}, TWO: {200}}

        file.write_text(f'[clients.one]\nscopes = ["infer"]\nkeys = ["{ONE}"]')
        reload(service, 2)
        (refused,) = [record for record in service.records() if record["event"] == "reload_refused"]
        assert refused["reason"].startswith(
            "the file that ONNICORN_ACCESS__KEYS names is wrong: clients.one.keys.0: expected sha256: and 64 hexa"
        )
        assert statuses(service) == {ONE: {401}, TWO: {200}}

        pid = service.workers()[0]
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
        service.wait_until(lambda: len(service.workers()) == 2 and pid not in service.workers().values(), "whole again")
        assert statuses(service) == {ONE: {401}, TWO: {200}}
        assert_nothing_kept(service)
    assert_nothing_printed(service)


def refuse_to_prepare(repository: Path) -> str:
    (repository / "double" / "2").mkdir()
    (repository / "double" / "2" / "model.onnx").write_bytes(b"no model")
    return "is not an ONNX model"


def refuse_to_load(repository: Path) -> str:
    """Only workers know whether there is such a model."""
    (repository / "double" / "model.toml").write_text('fallback = "nobody"')
    return "expected another model, one that is served"


def remove(repository: Path) -> str:
    repository.rename(repository.with_name("elsewhere"))
    return "does not exist"


@pytest.mark.parametrize("worsen", [refuse_to_prepare, refuse_to_load, remove])
def test_a_key_is_taken_away_whatever_becomes_of_the_models(worsen: Callable[[Path], str], tmp_path: Path) -> None:
    """Who has stolen one shall not have it until somebody has repaired a model."""
    file = write_keys(tmp_path / "keys.toml", {"one": ("infer metadata", ONE)})
    repository = serve_double(tmp_path)
    with running(repository, tmp_path, ONNICORN_ACCESS__KEYS=str(file)) as service:
        workers = service.workers()
        reason = worsen(repository)
        reload(service, 1)
        assert statuses(service) == {ONE: {200}, TWO: {401}}
        write_keys(file, {"two": ("infer metadata", TWO)})
        reload(service, 2)
        assert statuses(service) == {ONE: {401}, TWO: {200}}
        assert statuses(service, "/v2/models/double/versions/1/ready") == {ONE: {401}, TWO: {200}}
        [changed] = [record["generation"] for record in service.records() if record["event"] == "keys_changed"]
        refused = [record for record in service.records() if record["event"] == "reload_refused"]
        assert [record["generation"] for record in refused] == [1, changed]
        assert [reason in record["reason"] for record in refused] == [True, True]
        assert (service.probe("/readyz").json()["generation"], service.workers()) == (changed, workers)


def test_the_watch_sees_new_keys(tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys.toml", {"one": ("metadata", ONE)})
    environment = {"ONNICORN_ACCESS__KEYS": str(file), "ONNICORN_REPOSITORY__WATCH_SECONDS": "0.1"}
    with running(serve_double(tmp_path), tmp_path, **environment) as service:
        write_keys(file, {"two": ("metadata", TWO)})
        service.wait_until(lambda: statuses(service, times=1)[TWO] == {200}, "open to the new key")
        assert statuses(service) == {ONE: {401}, TWO: {200}}


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_key_is_written_anywhere_whatever_is_done_with_it(level: str, log_format: str, tmp_path: Path) -> None:
    file = write_keys(tmp_path / "keys.toml", {"one": ("infer", ONE), "two": ("metadata admin", TWO)})
    environment = {
        "ONNICORN_ACCESS__KEYS": str(file),
        "ONNICORN_LOG__LEVEL": level,
        "ONNICORN_LOG__FORMAT": log_format,
        "ONNICORN_HTTP__ADMIN": "true",
    }
    with running(serve_double(tmp_path), tmp_path, **environment) as service, client(service.api) as api:
        answers = [
            api.request(method, path, json=document, headers={name: f"{before}{key}{after}"}).content
            for name, before in (("X-API-Key", ""), ("Authorization", "Bearer "), ("Authorization", "Basic "))
            for key in (ONE, TWO)
            for after in ("", "x")
            for method, path, document in (
                ("POST", INFER, ONES),
                ("POST", INFER, {"inputs": []}),
                ("GET", "/v2/models/nobody", None),
                ("GET", "/openapi.json", None),
                ("GET", "/metrics", None),
                ("POST", "/v2/repository/models/nobody/load", {}),
            )
        ]
        answers += [service.probe(path).content for path in ("/readyz", "/metrics")]
        assert_nothing_kept(service)
    assert [answer for answer in answers if ONE.encode() in answer or TWO.encode() in answer] == []
    assert_nothing_printed(service)
    # What was looked for could have been found.
    assert "this needs a key with the scope" in service.printed()


def assert_nothing_printed(service: Service) -> None:
    assert [key for key in (ONE, TWO) if key in service.printed()] == []


def assert_nothing_kept(service: Service) -> None:
    """In the files that it has while it runs; it removes them at its end."""
    contents = [file.read_bytes() for file in service.run.rglob("*") if file.is_file()]
    assert any(digest_of(TWO.encode()).encode() in content for content in contents)
    assert [content for content in contents if ONE.encode() in content or TWO.encode() in content] == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[clients]\n", "the file that ONNICORN_ACCESS__KEYS names has no client"),
        (ONE, "the file that ONNICORN_ACCESS__KEYS names is no TOML in UTF-8"),
        (None, "the file that ONNICORN_ACCESS__KEYS names cannot be read: No such file or directory"),
    ],
    ids=["empty", "a key", "none"],
)
def test_a_start_without_usable_keys_ends_with_one_line(content: str | None, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    if content is not None:
        file.write_text(content)
    with launched(serve_double(tmp_path), tmp_path, ONNICORN_ACCESS__KEYS=str(file)) as service:
        assert exit_code(service) == 1
    (critical,) = [record for record in service.records() if record["level"] == "critical"]
    assert (critical["event"], critical["reason"].startswith(sentence)) == ("keys_unusable", True)
    assert ONE not in service.printed()


def test_a_key_in_place_of_its_file_is_not_printed(tmp_path: Path) -> None:
    with launched(serve_double(tmp_path), tmp_path, ONNICORN_ACCESS__KEYS=ONE) as service:
        assert exit_code(service) == 1
    assert "got what looks like a key" in service.printed()
    assert ONE not in service.printed()
