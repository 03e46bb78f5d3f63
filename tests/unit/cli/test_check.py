"""`onnicorn check`: all that is wrong, in one run, with what to do; and nothing where all is well."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests import tiny
from tests.process.conftest import free_addresses
from tests.transforms import LISTS
from tests.unit import models
from tests.unit.cli.conftest import Onnicorn

Check = Callable[..., Result]
RUNTIME = {"RUNTIME__WORKERS": "1", "RUNTIME__INTRA_OP_THREADS": "1"}
CRASH = "import os, signal\nsignal.signal(signal.SIGSEGV, signal.SIG_DFL)\nos.kill(os.getpid(), signal.SIGSEGV)\n"


@pytest.fixture
def check(onnicorn: Onnicorn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The command with addresses and folders of its own."""
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)

    def run(*arguments: str, **variables: object) -> Result:
        api, ops = free_addresses()
        (tmp_path / "run").mkdir(exist_ok=True)
        given = {"HTTP__BIND": api, "OPS__BIND": ops, "RUN__DIR": tmp_path / "run", **RUNTIME} | variables
        return onnicorn("check", *arguments, **given)

    return run


def found(result: Result, level: str) -> list[str]:
    """The lines of one level, without it."""
    return [line[6:] for line in result.stdout.splitlines() if line.startswith(f"{level:<4}  ")]


def test_where_all_is_well_each_step_is_told(check: Check, root: Path, tmp_path: Path) -> None:
    result = check()
    assert (result.exit_code, result.stderr) == (0, "")
    assert found(result, "warn") == found(result, "fail") == []
    facts = found(result, "ok")
    assert list(dict.fromkeys(line.partition(":")[0] for line in facts)) == [
        *("settings", "gunicorn", "cache", "run directory", "address", "repository", "cat/1", "models", "plan"),
    ]
    assert f"repository: {root}: 1 model" in facts
    assert "plan: 1 worker: set by hand" in facts
    assert "cat/1: found, checked, prepared, run" in facts
    assert "models: 1 version loaded and warmed up in one process, as each worker does" in facts
    assert result.stdout.splitlines()[-1] == "The service would start"
    assert list((tmp_path / "run").iterdir()) == []


def test_golden_samples_and_transforms_are_tried(check: Check, root: Path) -> None:
    (root / "cat" / "transform.py").write_text(LISTS)
    (root / "cat" / "1" / "golden").mkdir()
    golden = root / "cat" / "1" / "golden" / "one.json"
    golden.write_text('{"instances": [[1, 2, 3, 4]], "predictions": [[2, 4, 6, 8]]}')
    told = "cat/1: found, checked, prepared, run, 1 golden sample replayed, transform.py loaded"
    assert told in found(check(), "ok")
    golden.write_text('{"instances": [[1, 2, 3, 4]], "predictions": [[2, 4, 6, 9]]}')
    result = check()
    assert result.exit_code == 1
    assert found(result, "fail") == [
        f"cat/1: model 'cat' version 1: golden sample {golden}: predictions[0][3] was recorded as 9, is 8.0 now"
    ]


def break_everything(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str) -> dict[str, object]:
    """A mistake of every kind, and one model between two that are well."""
    tiny.write(tiny.add_sub(), root, "dog")
    tiny.write(tiny.scalar(), root, "owl")
    (root / "dog" / "1" / "model.onnx").write_bytes(b"junk")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", f"--certfile {tmp_path}/cert.pem --workers 7 --reload")
    (tmp_path / "file").touch()
    return {
        "HTTP__BIND": api,
        "RUNTIME__WORKER": "2",
        "LOG__LEVEL": "loud",
        "LIMITS__HEADERS": "1",
        "ACCESS__KEYS": tmp_path,
        "CACHE__DIR": tmp_path / "file" / "cache",
        "RUN__DIR": tmp_path / "nowhere",
    }


FAILURES = [
    "settings: ONNICORN_RUNTIME__WORKER is not a setting; the nearest is ONNICORN_RUNTIME__WORKERS",
    "settings: ONNICORN_LIMITS__HEADERS=1: input should be greater than or equal to 16",
    "settings: ONNICORN_LOG__LEVEL=loud: input should be 'debug', 'info', 'warning' or 'error'",
    "gunicorn: gunicorn's workers is 7, the plan says 1: take it out of the command line and GUNICORN_CMD_ARGS and use "
    "the ONNICORN_* settings; gunicorn's reload is True, the plan says False: take it out of the command line and "
    "GUNICORN_CMD_ARGS and use the ONNICORN_* settings",
    "certificates: gunicorn's --certfile {tmp_path}/cert.pem cannot be read: No such file or directory",
    "run directory: no directory can be made in {tmp_path}/nowhere: No such file or directory; "
    "set ONNICORN_RUN__DIR to a writable directory",
    "keys: the file that ONNICORN_ACCESS__KEYS names cannot be read: Is a directory",
    "address: cannot listen on {api}: it is in use already; set ONNICORN_HTTP__BIND to a free address",
    "dog/1: {root}/dog/1/model.onnx is not an ONNX model: it cannot be parsed; export it again",
]


def test_all_that_is_wrong_is_named_in_one_run(
    check: Check, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        api = f"127.0.0.1:{occupied.getsockname()[1]}"
        variables = break_everything(root, tmp_path, monkeypatch, api)
        result, told = check(**variables), check("--json", **variables)
    assert (result.exit_code, result.stderr, told.exit_code, told.stderr) == (1, "", 1, "")
    assert found(result, "fail") == [line.format(tmp_path=tmp_path, root=root, api=api) for line in FAILURES]
    assert [line.partition(":")[0] for line in found(result, "warn")] == ["cache", "cat/1", "owl/1"]
    assert {"cat/1: found, checked, not prepared, run", "owl/1: found, checked, not prepared, run"} < set(
        found(result, "ok")
    )
    assert result.stdout.splitlines()[-1] == "The service would not start: 9 failures, 3 warnings"
    document = json.loads(told.stdout)
    assert document["starts"] is False
    assert [line(each) for each in document["findings"] if each["level"] == "fail"] == found(result, "fail")
    assert len(document["findings"]) == len(result.stdout.splitlines()) - 1


def line(finding: dict[str, Any]) -> str:
    return f"{finding['subject']}: {finding['message']}" + (f"; {finding['hint']}" if finding["hint"] else "")


def test_a_repository_that_is_not_there_is_one_of_the_facts(check: Check) -> None:
    result = check("--repository", "/nowhere", LOG__LEVEL="loud")
    assert result.exit_code == 1
    assert [fact.partition(":")[0] for fact in found(result, "fail")] == ["settings", "repository"]
    assert "the model repository /nowhere does not exist" in result.stdout


def test_what_the_system_refuses_is_one_of_the_facts(check: Check) -> None:
    result = check("--repository", f"/{'long' * 100}")
    assert result.exit_code == 1
    [fact] = found(result, "fail")
    assert fact.startswith("repository: [Errno 36] File name too long: ")


def test_an_empty_repository_starts_with_a_warning(check: Check, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = check("--repository", str(tmp_path / "empty"))
    assert result.exit_code == 0
    assert found(result, "warn") == [
        f"service: repository empty: path {tmp_path}/empty; put a model into <name>/1/model.onnx"
    ]


def test_a_model_that_crashes_does_not_hide_the_others(check: Check, root: Path) -> None:
    (root / "cat" / "transform.py").write_text(CRASH)
    tiny.write(tiny.add_sub(), root, "dog")
    result = check(REPOSITORY__TOLERATE_FAILURES="true")  # it would end the start's own child all the same
    assert result.exit_code == 1
    assert found(result, "fail") == ["cat: it ended the process by signal 11 (Segmentation fault)"]
    assert "dog/1: found, checked, prepared, run" in found(result, "ok")


def test_what_the_service_tolerates_is_a_warning(check: Check, root: Path) -> None:
    (root / "dog" / "1").mkdir(parents=True)
    result = check(REPOSITORY__TOLERATE_FAILURES="true")
    assert result.exit_code == 0
    assert found(result, "warn") == [f"dog/1: {root}/dog/1/model.onnx does not exist: copy the model there"]
    assert result.stdout.splitlines()[-1] == "The service would start, 1 warning"


def test_what_is_wrong_between_models_is_found_too(check: Check, root: Path) -> None:
    for name in ("dog", "owl"):
        tiny.write(tiny.add_sub(), root, name)
        (root / name / "model.toml").write_text('fallback = "cat"')
    [fact] = found(check(), "fail")
    assert "model 'dog': fallback 'cat': expected a: INT32[-1,16]" in fact
    assert "model 'owl': fallback 'cat': expected a: INT32[-1,16]" in fact


def test_what_the_service_would_warn_of_is_told(check: Check, root: Path) -> None:
    tiny.write(models.noisy(), root, "dog")
    assert any("not prepared: the model answers the same input differently" in fact for fact in found(check(), "warn"))


def test_workers_that_memory_does_not_suffice_for_are_found(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.loading.memory_limit", lambda: 80 << 20)
    [fact] = found(check(), "fail")
    assert fact.startswith("plan: 1 worker cannot fit into memory: ")


def test_api_keys_and_gunicorns_options_are_told(
    check: Check, onnicorn: Onnicorn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys.toml").write_text(onnicorn("key", "checkout").stderr)
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--backlog 64")
    facts = found(check(ACCESS__KEYS=tmp_path / "keys.toml"), "ok")
    assert "keys: 1 client may call" in facts
    assert "gunicorn: GUNICORN_CMD_ARGS=--backlog 64" in facts


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--backlock=64", "GUNICORN_CMD_ARGS=--backlock=64: unrecognized arguments: --backlock=64"),
        ("--certfile 'a", "GUNICORN_CMD_ARGS=--certfile 'a: no closing quotation"),
        ("--daemon", "gunicorn's daemon mode is not supported: let systemd or a container run the service"),
    ],
)
def test_what_gunicorn_would_not_take_is_found(
    check: Check, monkeypatch: pytest.MonkeyPatch, arguments: str, sentence: str
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", arguments)
    assert found(check(), "fail") == [f"gunicorn: {sentence}"]


def test_two_ports_must_be_two(check: Check) -> None:
    api, _ = free_addresses()
    assert found(check(HTTP__BIND=api, OPS__BIND=api), "fail") == [
        f"address: cannot listen on {api}: it is in use already; set ONNICORN_OPS__BIND to a free address"
    ]


TRITON = """
name: "cat"
platform: "onnxruntime_onnx"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 4 }
output { name: "y" data_type: TYPE_FP32 dims: 5 }
sequence_batching { direct { } }
"""


@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_configuration_for_triton_is_held_against_the_model(check: Check, root: Path, is_loaded: bool) -> None:
    (root / "cat" / "config.pbtxt").write_text(TRITON)
    if not is_loaded:
        (root / "cat" / "1" / "model.onnx").write_bytes(b"junk")
    result = check()
    assert result.exit_code == (0 if is_loaded else 1)
    about = "cat config.pbtxt: "
    honoured = [fact.removeprefix(about) for fact in found(result, "ok") if fact.startswith(about)]
    others = [fact.removeprefix(about) for fact in found(result, "warn") if fact.startswith(about)]
    compared = ["input 'x': honoured; the model has FP32[-1,4]"]
    different = ["output 'y': differs; FP32[-1,5]; the model has FP32[-1,4], which is what callers send and get"]
    assert honoured == [
        "name: honoured; the model is served as 'cat'",
        "platform: honoured; onnxruntime_onnx",
        *(compared if is_loaded else []),
    ]
    assert others == [
        "max_batch_size: to be declared; write into model.toml: limits.max_rows = 8",
        *(different if is_loaded else []),
        "sequence_batching: not supported; nothing is kept from one request for the next: send state as an input",
    ]


def test_a_configuration_that_cannot_be_read_stops_nothing(check: Check, root: Path) -> None:
    (root / "cat" / "config.pbtxt").write_text("input {")
    result = check()
    assert result.exit_code == 0
    [fact] = found(result, "warn")
    assert fact.startswith(f"cat: {root}/cat/config.pbtxt is not a ModelConfig in protobuf's text form: ")
