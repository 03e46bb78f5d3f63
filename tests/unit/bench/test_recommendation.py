"""Which settings are recommended, with the reason."""

from service.bench.combination import Combination
from service.bench.recommendation import Recommendation, recommend
from tests.unit.bench.figures import load, trial

ONE, TWO, LARGE = Combination(1, 1, 8), Combination(2, 1, 8), Combination(1, 1, 32)


def test_under_a_goal_it_is_the_most_that_is_done() -> None:
    one = trial(ONE, 2000, {1000: load(ms=1), 1800: load({200: 1800}, ms=9)})
    two = trial(TWO, 3000, {1500: load({200: 1500}, ms=2), 2700: load({200: 2700}, ms=9)})
    assert recommend([one, two], goal=0.01) == Recommendation(
        "2 workers x 1 thread, 8 rows: 1,500 requests/s with a p99 of 6 ms, under the goal of 10 ms; 1 worker x 1 "
        "thread, 8 rows does 1,000, and is the next best",
        {
            "ONNICORN_RUNTIME__WORKERS": "2",
            "ONNICORN_RUNTIME__INTRA_OP_THREADS": "1",
            "ONNICORN_BATCHING__MAX_ROWS": "8",
        },
    )


def test_without_a_goal_it_is_the_highest_peak() -> None:
    one, two = (trial(ONE, 2000, {1000: load()}), trial(TWO, 3000, {1000: load()}))
    found = recommend([one, two], goal=None)
    assert found
    assert found.settings == TWO.variables
    assert found.reason == (
        "2 workers x 1 thread, 8 rows: 3,000 requests/s at the peak, since no --goal-ms was given; 1 worker x 1 "
        "thread, 8 rows does 2,000, and is the next best"
    )


def test_hardly_more_is_not_worth_another_cpu() -> None:
    one, two = (trial(ONE, 2000, {1000: load()}), trial(TWO, 2080, {1000: load()}))
    found = recommend([one, two], goal=None)
    assert found
    assert found.settings == ONE.variables
    assert found.reason.endswith("; 2 workers x 1 thread, 8 rows does 2,080, hardly more, and not with less")


def test_what_answers_errors_is_not_recommended() -> None:
    one, two = (trial(ONE, 2000, {1000: load()}), trial(TWO, 3000, {1000: load({200: 990, 503: 10})}))
    found = recommend([one, two], goal=None)
    assert found
    assert found.settings == ONE.variables
    assert found.reason.endswith("; nothing else does")


def test_at_rates_that_were_given_there_is_no_peak_and_what_is_done_counts() -> None:
    one = trial(ONE, loads={1000: load(), 2000: load({200: 1500})})
    two = trial(TWO, loads={1000: load(), 2000: load({200: 2000})})
    found = recommend([one, two], goal=None)
    assert found
    assert found.settings == TWO.variables


def test_a_goal_that_nothing_meets_names_the_nearest() -> None:
    one, two = (trial(ONE, 2000, {1000: load(ms=1)}), trial(LARGE, 3000, {900: load({200: 900}, ms=2)}))
    assert recommend([one, two], goal=0.001) == Recommendation(
        "nothing keeps a p99 of 1 ms; the nearest is 1 worker x 1 thread, 8 rows: 1,000 requests/s with a p99 of 3 ms",
        is_met=False,
    )


def test_without_a_steady_rate_there_is_no_nearest() -> None:
    assert recommend([trial(loads={100: load({503: 100})})], goal=0.001) == Recommendation(
        "nothing keeps a p99 of 1 ms: no rate was answered without errors and in step", is_met=False
    )


def test_a_service_that_runs_has_its_rate_under_the_goal_and_no_settings() -> None:
    one = trial(None, 2000, {1000: load(ms=1), 1800: load({200: 1800}, ms=9)})
    assert recommend([one], goal=0.01) == Recommendation("1,000 requests/s with a p99 of 3 ms, under the goal of 10 ms")
    assert recommend([one], goal=None) is None


def test_what_was_measured_badly_is_to_be_measured_again() -> None:
    again = "; but for 2.0% of that time the generator did not have its core, so measure it again"
    one, two = (trial(ONE, 2000, {1000: load()}), trial(TWO, 3000, {1000: load(away=0.02)}))
    for found in (recommend([one, two], goal=None), recommend([two], goal=1)):
        assert found
        assert found.reason.endswith(again)
