"""The commands as processes of their own: what they say of a service is true, and mistakes are lines."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.process.conftest import ROOT, SECONDS, Service, StartService, environment_of, running
from tests.transforms import LISTS

Result = subprocess.CompletedProcess[str]
LONG = 5000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One plain model, one with a long input, one with a transform, one with strings that a shell would mistake."""
    root = tiny.repository(
        tmp_path_factory.mktemp("models"),
        plain=tiny.double(),
        long=tiny.identity("FP32"),
        typed=tiny.double(),
        words=tiny.identity("BYTES"),
    )
    (root / "long" / "model.toml").write_text(f"warm_up = [{{ x = {{ shape = [1, {LONG}] }} }}]")
    text = """it's "$HOME" \\\\ !"""
    (root / "words" / "model.toml").write_text(f"""[[warm_up]]\nx = {{ shape = [1, 1], data = ['''{text}'''] }}""")
    (root / "typed" / "transform.py").write_text(LISTS)
    (root / "typed" / "1" / "golden").mkdir()
    sample = {"instances": [[1, 2, 3, 4]], "predictions": [[2, 4, 6, 8]]}
    (root / "typed" / "1" / "golden" / "one.json").write_text(json.dumps(sample))
    return root


@pytest.fixture(scope="module")
def served(start_service: StartService, models: Path) -> Service:
    return start_service(models)


def run(command: list[str], environment: dict[str, str], folder: Path = ROOT) -> Result:
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS)


def onnicorn(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "service.cli", *arguments]


@pytest.fixture
def environment(served: Service, models: Path, tmp_path: Path) -> dict[str, str]:
    """That of the service; and `onnicorn` is a command in it, from everywhere."""
    changes = {"ONNICORN_HTTP__BIND": served.api, "ONNICORN_OPS__BIND": served.ops}
    variables = environment_of(models, served.run, changes)
    program = tmp_path / "bin" / "onnicorn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m service.cli "$@"\n')
    program.chmod(0o755)
    return variables | {"PATH": f"{program.parent}:{variables['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("plain", [2.0] * 4),
        ("plain/1", [2.0] * 4),
        ("long", [1.0] * LONG),
        ("words", ["""it's "$HOME" \\\\ !"""]),
    ],
)
def test_the_command_that_is_described_works_as_it_stands(
    environment: dict[str, str], tmp_path: Path, model: str, answer: list[object]
) -> None:
    described = run(onnicorn("describe", model), environment)
    assert (described.returncode, described.stderr) == (0, "")
    called = run(["/bin/sh", "-c", described.stdout.splitlines()[-1]], environment, tmp_path)
    assert (called.returncode, called.stderr) == (0, "")
    assert [output["data"] for output in json.loads(called.stdout)["outputs"]] == [answer]


def test_so_does_that_of_a_transform(environment: dict[str, str], tmp_path: Path) -> None:
    document = json.loads(run(onnicorn("describe", "typed", "--json"), environment).stdout)
    called = run(["/bin/sh", "-c", document["command"]], environment, tmp_path)
    assert json.loads(called.stdout)["predictions"] == [[2.0, 4.0, 6.0, 8.0]]


def test_a_service_that_runs_already_is_found(environment: dict[str, str], served: Service) -> None:
    checked = run(onnicorn("check"), environment)
    assert (checked.returncode, checked.stderr) == (1, "")
    failures = [line for line in checked.stdout.splitlines() if line.startswith("fail")]
    assert failures == [
        f"fail  address: cannot listen on {address}: it is in use already; set ONNICORN_{name}__BIND to a free address"
        for name, address in (("HTTP", served.api), ("OPS", served.ops))
    ]


def test_what_is_checked_starts(tmp_path: Path, models: Path) -> None:
    environment = environment_of(models, tmp_path, {})
    checked = run(onnicorn("check", "--json"), environment)
    assert (checked.returncode, checked.stderr) == (0, "")
    document = json.loads(checked.stdout)
    assert (document["starts"], {finding["level"] for finding in document["findings"]}) == (True, {"ok"})
    places = {name: environment[f"ONNICORN_{name}__BIND"] for name in ("HTTP", "OPS")}
    variables = {f"ONNICORN_{name}__BIND": place for name, place in places.items()}
    with running(models, tmp_path / "service", **variables) as service:
        assert service.get("/v2/models/plain/ready").status_code == 200


def test_what_is_not_leaves_no_traceback(tmp_path: Path) -> None:
    """A mistyped variable, two bad settings, and a model that ends its process, between two that are well."""
    root = tiny.repository(tmp_path / "models", ant=tiny.double(), bee=tiny.double(), cow=tiny.double())
    (root / "bee" / "transform.py").write_text("import os\nos.abort()")
    wrong = {"ONNICORN_RUNTIME__WORKER": "2", "ONNICORN_LOG__LEVEL": "loud", "ONNICORN_LIMITS__HEADERS": "no"}
    checked = run(onnicorn("check"), environment_of(root, tmp_path, wrong))
    assert (checked.returncode, "Traceback" in checked.stdout + checked.stderr) == (1, False)
    failures = [line[6:].partition(":")[0] for line in checked.stdout.splitlines() if line.startswith("fail")]
    assert failures == ["settings", "settings", "settings", "bee"]
    assert {"ok    ant/1: found, checked, prepared, run", "ok    cow/1: found, checked, prepared, run"} < set(
        checked.stdout.splitlines()
    )


@pytest.mark.parametrize(("variables", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals(environment: dict[str, str], variables: dict[str, str], is_coloured: bool) -> None:
    command = onnicorn("settings", "log")
    here = {name: value for name, value in environment.items() if name != "NO_COLOR"} | variables
    assert "\x1b" not in run(command, here).stdout
    assert (b"\x1b[1mONNICORN_LOG__LEVEL" in on_a_terminal(command, here)) is is_coloured


def on_a_terminal(command: list[str], environment: dict[str, str]) -> bytes:
    """What it prints there."""
    master, terminal = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen:
        try:
            subprocess.run(command, env=environment, cwd=ROOT, stdout=terminal, check=True, timeout=SECONDS)
            return screen.read(1 << 16)
        finally:
            os.close(terminal)


def test_the_repository_may_be_given_in_place_of_the_variable(models: Path, tmp_path: Path) -> None:
    command = (*onnicorn("serve", "--repository"), str(models))
    with running(Path("/nowhere"), tmp_path, command) as service:
        assert service.get("/v2/models/plain/ready").status_code == 200
