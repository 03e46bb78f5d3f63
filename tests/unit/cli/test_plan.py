"""`onnicorn plan`: what would be made of this machine, for people and for programs."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from service.loading import prepare_generation, weights
from service.plan import Plan, fit, memory_limit, plan_for_this_machine, with_bodies
from service.settings import Settings
from tests import tiny
from tests.unit.cli.conftest import Onnicorn

RUNTIME = {"RUNTIME__WORKERS": "1", "RUNTIME__INTRA_OP_THREADS": "3"}


@pytest.fixture
def made(root: Path, tmp_path: Path) -> Plan:
    """The plan that the command must come to."""
    settings = Settings(
        repository={"path": root}, cache={"dir": tmp_path / "cache"}, runtime={"workers": 1, "intra_op_threads": 3}
    )
    manifest = prepare_generation(settings, number=1)
    models, limit = weights(manifest.entries), memory_limit()
    return with_bodies(fit(plan_for_this_machine(settings.runtime), models, limit), settings.admission, models, limit)


def test_the_plan_is_told_with_its_reasons(onnicorn: Onnicorn, made: Plan) -> None:
    result = onnicorn("plan", **RUNTIME)
    head, *reasons = result.stdout.splitlines()
    assert (result.exit_code, result.stderr, head) == (0, "", "1 worker with 3 threads each")
    assert reasons == [f"  {reason}" for reason in made.reasons]
    assert reasons[1:3] == ["  1 worker: set by hand", "  3 threads in each: set by hand"]


def test_the_plan_is_told_to_programs(onnicorn: Onnicorn, made: Plan) -> None:
    result = onnicorn("plan", "--json", **RUNTIME)
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    assert json.loads(result.stdout) == asdict(made) | {"reasons": list(made.reasons)}


def test_models_that_cannot_be_served_leave_nothing_to_plan(onnicorn: Onnicorn, root: Path) -> None:
    file = root / "dog" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    result = onnicorn("plan")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"onnicorn: model 'dog': {file} does not exist: copy the model there\n"


def test_what_the_service_would_warn_of_is_beside_the_answer(onnicorn: Onnicorn, root: Path) -> None:
    (root / "dog" / "1").mkdir(parents=True)
    result = onnicorn("plan", "--json", REPOSITORY__TOLERATE_FAILURES="true", **RUNTIME)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["workers"] == 1
    [line] = result.stderr.splitlines()
    assert "model_refused" in line


def test_what_it_merely_notes_is_left_out(onnicorn: Onnicorn, root: Path) -> None:
    tiny.write(tiny.add_sub(), root, "dog")
    assert onnicorn("plan").stderr == ""
