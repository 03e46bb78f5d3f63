"""Which settings are tried, and on which cores."""

import pytest

from service.bench.combination import Combination, combinations, counts, usual_rows
from service.bench.cores import Seats


def test_each_is_tried_with_each_the_smallest_first() -> None:
    assert [str(each) for each in combinations([2, 1], [1, 2], [1, 8])] == [
        "1 worker x 1 thread, 1 row",
        "1 worker x 1 thread, 8 rows",
        "1 worker x 2 threads, 1 row",
        "1 worker x 2 threads, 8 rows",
        "2 workers x 1 thread, 1 row",
        "2 workers x 1 thread, 8 rows",
        "2 workers x 2 threads, 1 row",
        "2 workers x 2 threads, 8 rows",
    ]


def test_a_combination_is_settings() -> None:
    assert Combination(2, 3, 8).variables == {
        "ONNICORN_RUNTIME__WORKERS": "2",
        "ONNICORN_RUNTIME__INTRA_OP_THREADS": "3",
        "ONNICORN_BATCHING__MAX_ROWS": "8",
    }
    assert Combination(2, 3, 8).cpus == 6


@pytest.mark.parametrize(
    ("cpus", "worth_trying"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_powers_of_two_and_all_are_worth_trying(cpus: int, worth_trying: list[int]) -> None:
    assert counts(cpus) == worth_trying


def test_the_rows_that_are_set_are_tried_beside_the_usual_ones() -> None:
    assert (usual_rows(32), usual_rows(16)) == ([1, 8, 32], [1, 8, 16, 32])


@pytest.mark.parametrize(("needed", "granted", "driving"), [(1, 4, {2}), (3, 4, {2}), (4, 4, None), (1, 1, None)])
def test_the_generator_has_a_core_of_its_own_where_the_service_leaves_one(
    needed: int, granted: int, driving: set[int] | None
) -> None:
    seats = Seats.of(needed, granted, [0, 1, 2, 3])
    every = {0, 1, 2, 3}
    assert seats.is_shared is (driving is None)
    assert (set(seats.serving), set(seats.driving)) == (every - (driving or set()), driving or every)


def test_it_naps_where_it_shares_one() -> None:
    assert Seats.shared([0]).nap > 0
    assert Seats.alone().nap == 0
