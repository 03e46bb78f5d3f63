"""What is asked for becomes trials: on which settings and cores, and what is said of those that are left out."""

from pathlib import Path

import pytest

from service.bench.combination import Combination
from service.bench.contenders import Contenders, Sweep, of_model, running_service
from service.bench.endpoint import Endpoint
from service.bench.failures import BenchFailed
from service.bench.target import Target
from service.plan import plan_for_this_machine
from service.settings import Settings
from tests import tiny


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a repository of one model."""
    root = tiny.repository(tmp_path / "models", cat=tiny.double())
    return Settings(
        repository={"path": root},
        cache={"dir": tmp_path / "cache"},
        runtime={"workers": 1, "intra_op_threads": 1},
        batching={"max_rows": 16},
    )


def contenders(settings: Settings, sweep: Sweep, named: str = "cat") -> Contenders:
    return of_model(settings, {}, named, sweep, {}, lambda: None)


def tried(found: Contenders) -> list[Combination | None]:
    return [trial.combination for trial in found.trials]


def test_a_model_is_served_as_the_settings_have_it_unless_others_are_asked_for(settings: Settings) -> None:
    found = contenders(settings, Sweep())
    assert (found.name, tried(found)) == ("cat", [Combination(1, 1, 16)])
    assert [trial.label for trial in found.trials] == ["1 worker x 1 thread, 16 rows"]


def test_what_is_named_is_tried_with_what_the_settings_have_of_the_rest(settings: Settings) -> None:
    found = contenders(settings, Sweep(workers=(1,), rows=(4, 2), is_wanted=True))
    assert tried(found) == [Combination(1, 1, 4), Combination(1, 1, 2)]


def test_a_goal_alone_tries_what_may_pay_on_the_cpus_that_are_there(settings: Settings) -> None:
    cpus = plan_for_this_machine(settings.runtime).cpus
    combinations = tried(contenders(settings, Sweep(is_wanted=True)))
    assert {each.rows for each in combinations if each} == {1, 8, 16, 32}
    assert {each.cpus for each in combinations if each} <= set(range(1, cpus + 1))
    assert Combination(cpus, 1, 16) in combinations
    assert Combination(1, cpus, 16) in combinations


def test_what_needs_more_cpus_is_left_out_and_said_unless_it_is_wanted(settings: Settings) -> None:
    sweep = Sweep(workers=(1, 64), threads=(1, 64))
    found = contenders(settings, sweep)
    assert Combination(64, 64, 16) not in tried(found)
    assert found.notes[0].startswith("left out: ")
    assert "64 workers x 64 threads: more than the " in found.notes[0]
    assert found.notes[0].endswith("; --oversubscribed tries them")
    all_of_them = contenders(settings, Sweep(workers=(1, 64), threads=(1, 64), oversubscribed=True))
    assert len(all_of_them.trials) == 4


def test_one_that_leaves_the_generator_no_core_is_told(settings: Settings) -> None:
    cpus = plan_for_this_machine(settings.runtime).cpus
    found = contenders(settings, Sweep(workers=(cpus,)))
    assert [trial.seats.is_shared for trial in found.trials] == [True]
    [note] = found.notes
    assert note.startswith("the service may keep the ")
    assert "the load generator has no core of its own there" in note


def test_a_version_may_be_named(settings: Settings) -> None:
    assert contenders(settings, Sweep(), "cat/1").name == "cat/1"


@pytest.mark.parametrize("named", ["owl", "cat/2"])
def test_a_model_that_is_not_there_is_a_sentence(settings: Settings, named: str) -> None:
    with pytest.raises(BenchFailed) as failed:
        contenders(settings, Sweep(), named)
    assert str(failed.value) == f"there is no model '{named}' in {settings.repository.path}; it has 'cat'"


@pytest.mark.parametrize(
    ("host", "is_shared"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("192.0.2.1", False), ("cats", False)],
)
def test_a_service_on_this_machine_shares_its_cores_with_the_generator(host: str, is_shared: bool) -> None:
    target = Target(Endpoint(host, 8000), "cat")
    [trial] = running_service(target).trials
    assert trial.seats.is_shared is is_shared
    with trial.open() as opened:
        assert opened is target
