"""What was found, as people and programs get it."""

from pathlib import Path
from xml.etree import ElementTree

from service.bench.combination import Combination
from service.bench.report import Report
from service.bench.trial import Pace
from tests.unit.bench.figures import load, trial

ONE, TWO = Combination(1, 1, 8), Combination(2, 1, 8)
SENT = "x FP32[1,4], 60 bytes of JSON, ones"


def running(**others: object) -> Report:
    """Of a service that runs."""
    found = trial(None, 2000, {500: load({200: 500}), 1800: load({200: 1000, 503: 800}, away=0.02, delayed=90)})
    given: dict[str, object] = {"name": "cat", "sent": SENT, "pace": Pace(3, 64), "trials": [found], **others}
    return Report(**given)  # type: ignore[arg-type]


def swept(**others: object) -> Report:
    """Of two combinations."""
    trials = [trial(each, peak, {peak / 2: load({200: peak // 2})}) for each, peak in ((ONE, 2000), (TWO, 3000))]
    return running(trials=trials, pace=Pace(2, 64, rounds=2), **others)


def test_people_get_a_table_and_what_they_must_know() -> None:
    assert str(running(notes=["a note"])) == (
        "cat, 64 connections, 3 s at each rate\n"
        "each request: x FP32[1,4], 60 bytes of JSON, ones\n"
        "\n"
        "asked/s  done/s  p50 ms  p90 ms  p99 ms  max ms     errors  late  away\n"
        "   peak   2,000       -       -       -       -       none     -     -\n"
        "    500     500       1       2       3       4       none  0.0%  0.0%\n"
        "  1,800   1,000       1       2      *3      *4  503 x 800  5.0%  2.0%\n"
        "\n"
        "a note\n"
        "* the generator did not have its core for up to 2.0% of the time: a percentile that is marked tells\n"
        "  of this machine and not of the service; keep the machine quieter, or drive from another one"
    )


def test_a_sweep_has_its_settings_and_ends_with_those_to_take() -> None:
    assert str(swept()) == (
        "cat, 64 connections, 2 s at each rate, 2 rounds\n"
        "each request: x FP32[1,4], 60 bytes of JSON, ones\n"
        "\n"
        "workers  threads  rows  asked/s  done/s  p50 ms  p90 ms  p99 ms  max ms  errors  late  away\n"
        "      1        1     8     peak   2,000       -       -       -       -    none     -     -\n"
        "      1        1     8    1,000   1,000       1       2       3       4    none  0.0%  0.0%\n"
        "      2        1     8     peak   3,000       -       -       -       -    none     -     -\n"
        "      2        1     8    1,500   1,500       1       2       3       4    none  0.0%  0.0%\n"
        "\n"
        "recommended: 2 workers x 1 thread, 8 rows: 3,000 requests/s at the peak, since no --goal-ms was\n"
        "  given; 1 worker x 1 thread, 8 rows does 2,000, and is the next best\n"
        "  ONNICORN_RUNTIME__WORKERS=2\n"
        "  ONNICORN_RUNTIME__INTRA_OP_THREADS=1\n"
        "  ONNICORN_BATCHING__MAX_ROWS=8"
    )


def test_a_goal_has_its_sentence() -> None:
    assert str(running(goal=0.01)).splitlines()[-1] == ("500 requests/s with a p99 of 3 ms, under the goal of 10 ms")


def test_what_has_failed_and_what_the_generator_could_not_do_is_said() -> None:
    report = swept()
    report.trials[0].failure = "the service does not start: no memory"
    report.trials[1].peaks = [load({200: 3000}, busy=0.95)]
    assert report.warnings == [
        "1 worker x 1 thread, 8 rows: the service does not start: no memory",
        "the generator itself was busy all the time at a peak: the service may do more than it could send",
    ]


def test_one_that_was_interrupted_says_so() -> None:
    assert str(running(is_complete=False)).startswith("cat, 64 connections, 3 s at each rate; interrupted\n")
    assert str(running(trials=[trial()], is_complete=False)) == "cat: nothing has been measured"


def test_programs_get_all_of_it() -> None:
    document = swept(goal=0.01).document()
    assert document.pop("machine")["cpus"] > 0
    assert document.pop("warnings") == []
    results = document.pop("results")
    assert document == {
        "model": "cat",
        "request": SENT,
        "seconds": 2,
        "connections": 64,
        "rounds": 2,
        "goal_ms": 10,
        "recommended": {
            "goal_met": True,
            "settings": TWO.variables,
            "reason": "2 workers x 1 thread, 8 rows: 1,500 requests/s with a p99 of 3 ms, under the goal of 10 ms; "
            "1 worker x 1 thread, 8 rows does 1,000, and is the next best",
        },
        "complete": True,
    }
    assert [(result["settings"], result["peak_per_second"]) for result in results] == [
        (ONE.variables, 2000),
        (TWO.variables, 3000),
    ]
    assert [rate["done_per_second"] for result in results for rate in result["rates"]] == [1000, 1500]


def test_the_picture_has_a_curve_for_each_combination(tmp_path: Path) -> None:
    swept(goal=0.002).draw(tmp_path / "cat.svg")
    texts = [text.text for text in ElementTree.parse(tmp_path / "cat.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"cat: 64 connections, 2 s at each rate, 2 rounds", str(ONE), str(TWO), "goal: 2 ms"} <= set(texts)
