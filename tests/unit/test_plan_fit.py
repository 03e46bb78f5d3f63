"""A plan meets the memory that there is: it is kept, made smaller, or refused, and says why."""

from dataclasses import replace
from pathlib import Path

import pytest

from service.cgroup import Cgroup
from service.knobs import Admission
from service.plan import DoesNotFit, Plan, Weights, check_room, fit, memory_limit, some, with_bodies

MEBIBYTE = 1 << 20
BASE, EACH = 64, 40
"""MiB of the service without workers, and of a worker without models."""

PLAN = Plan(workers=4, intra_op_threads=2, shares_cpus=True, reasons=("eight CPUs",), cpus=8)
BY_HAND = replace(PLAN, workers_by_hand=True)
ADVICE = "raise the container's memory limit, lower ONNICORN_RUNTIME__WORKERS, or serve fewer models"


def weights(shared: int = 0, private: int = 0) -> Weights:
    """In MiB."""
    return Weights(shared * MEBIBYTE, private * MEBIBYTE)


def need(base: int, each: int, limit: int) -> str:
    return f"{base} MiB for the service and shared weights and {each} MiB for each worker, of {limit} MiB"


@pytest.mark.parametrize("plan", [PLAN, BY_HAND])
@pytest.mark.parametrize("models", [weights(), weights(100_000, 100_000)])
def test_without_a_limit_the_plan_is_kept(plan: Plan, models: Weights) -> None:
    assert fit(plan, models, None) == replace(plan, reasons=("eight CPUs", "no memory limit is known"))


@pytest.mark.parametrize("plan", [PLAN, BY_HAND])
@pytest.mark.parametrize(
    ("models", "limit", "base", "each"),
    [
        (weights(), 4096, BASE, EACH),
        (weights(), BASE + 4 * EACH, BASE, EACH),
        (weights(shared=100), BASE + 100 + 4 * EACH, BASE + 100, EACH),
        (weights(private=100), BASE + 4 * (EACH + 100), BASE, EACH + 100),
        (weights(shared=7, private=5), BASE + 7 + 4 * (EACH + 5), BASE + 7, EACH + 5),
    ],
)
def test_where_memory_suffices_the_plan_is_kept(plan: Plan, models: Weights, limit: int, base: int, each: int) -> None:
    reason = f"memory suffices: {need(base, each, limit)}"
    assert fit(plan, models, limit * MEBIBYTE) == replace(plan, reasons=("eight CPUs", reason))


@pytest.mark.parametrize(
    ("models", "limit", "base", "each", "workers", "threads"),
    [
        (weights(), BASE + 4 * EACH - 1, BASE, EACH, 3, 2),
        (weights(), BASE + 2 * EACH, BASE, EACH, 2, 4),
        (weights(), BASE + EACH, BASE, EACH, 1, 8),
        (weights(private=100), 512, BASE, EACH + 100, 3, 2),
        (weights(shared=300), 512, BASE + 300, EACH, 3, 2),
    ],
)
def test_where_memory_is_short_fewer_workers_share_the_cpus(
    models: Weights, limit: int, base: int, each: int, workers: int, threads: int
) -> None:
    made = fit(PLAN, models, limit * MEBIBYTE)
    assert made == replace(PLAN, workers=workers, intra_op_threads=threads, reasons=made.reasons)
    assert made.reasons == (
        "eight CPUs",
        f"only {some(workers, 'worker')} with {some(threads, 'thread')} each: memory for more workers is missing: "
        f"{need(base, each, limit)}",
    )


def test_threads_that_were_set_by_hand_stay_as_they_are() -> None:
    made = fit(replace(PLAN, threads_by_hand=True), weights(), (BASE + EACH) * MEBIBYTE)
    assert (made.workers, made.intra_op_threads) == (1, 2)


def test_every_worker_has_a_thread() -> None:
    made = fit(replace(PLAN, workers=9, intra_op_threads=1, cpus=2), weights(), (BASE + 5 * EACH) * MEBIBYTE)
    assert (made.workers, made.intra_op_threads) == (5, 1)


def refusal(plan: Plan, models: Weights, limit: int) -> str:
    with pytest.raises(DoesNotFit) as caught:
        fit(plan, models, limit * MEBIBYTE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("plan", "models", "limit", "base", "each", "workers"),
    [
        pytest.param(BY_HAND, weights(), BASE + 4 * EACH - 1, BASE, EACH, 4, id="one too many by hand"),
        pytest.param(BY_HAND, weights(), BASE, BASE, EACH, 4, id="not even one of those by hand"),
        pytest.param(PLAN, weights(), BASE + EACH - 1, BASE, EACH, 1, id="not even one"),
        pytest.param(PLAN, weights(), 1, BASE, EACH, 1, id="not even the service"),
        pytest.param(PLAN, weights(private=4096), 4096, BASE, EACH + 4096, 1, id="a model that is too large"),
        pytest.param(PLAN, weights(shared=4096), 4096, BASE + 4096, EACH, 1, id="shared weights that are too large"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_sum(
    plan: Plan, models: Weights, limit: int, base: int, each: int, workers: int
) -> None:
    assert refusal(plan, models, limit) == (
        f"{some(workers, 'worker')} cannot fit into memory: {need(base, each, limit)}; {ADVICE}"
    )


def test_parts_of_a_mebibyte_count_as_a_whole_one_for_people_only() -> None:
    limit = (BASE + 4 * EACH) * MEBIBYTE
    assert fit(PLAN, Weights(shared=1), limit).reasons[1].endswith(need(BASE + 1, EACH, BASE + 4 * EACH))
    assert fit(PLAN, Weights(shared=1), limit).workers == 3
    assert fit(PLAN, Weights(shared=1), limit + 1).workers == 4


def test_the_limit_is_the_containers() -> None:
    assert memory_limit() == Cgroup.of_this_process().memory_limit()


def container(tmp_path: Path, used: int, inactive: int = 0, limit: str = "1000") -> Cgroup:
    """A control group of version 2 in which so many MiB are in use; the limit is in MiB too."""
    (tmp_path / "memory.max").write_text(limit if limit == "max" else str(int(limit) * MEBIBYTE))
    (tmp_path / "memory.current").write_text(str(used * MEBIBYTE))
    (tmp_path / "memory.stat").write_text(f"inactive_file {inactive * MEBIBYTE}\n")
    (tmp_path / "self").write_text("0::/\n")
    return Cgroup.of_this_process(tmp_path, tmp_path / "self")


@pytest.mark.parametrize(
    ("models", "used", "inactive"),
    [
        pytest.param(weights(), 1000, 0, id="nothing new"),
        pytest.param(weights(shared=100), 900, 0, id="just enough"),
        pytest.param(weights(shared=100), 1000, 100, id="cached files make room"),
        pytest.param(weights(private=25), 900, 0, id="a copy for each worker"),
    ],
)
def test_new_models_fit_beside_the_old_ones(models: Weights, used: int, inactive: int, tmp_path: Path) -> None:
    check_room(models, 4, container(tmp_path, used, inactive))


def test_without_a_limit_there_is_room(tmp_path: Path) -> None:
    check_room(weights(shared=100_000), 4, container(tmp_path, 900, limit="max"))


@pytest.mark.parametrize("models", [weights(shared=101), weights(private=26)])
def test_new_models_that_do_not_fit_beside_the_old_ones_are_refused(models: Weights, tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match=r"of 1000 MiB 100 MiB are left: raise the container's memory limit"):
        check_room(models, 4, container(tmp_path, 900))


@pytest.mark.parametrize(
    ("limit", "models", "most", "reason"),
    [
        (16384, Weights(), 512, "512 MiB of request bodies in each worker"),
        (
            BASE + 4 * EACH + 16 * 100,
            Weights(),
            100,
            "100 MiB of request bodies in each worker: memory for 512 MiB is missing, which with the answers may "
            "take 4 times as much",
        ),
        (
            BASE + 4 * EACH + 16 * 100,
            Weights(shared=4 * 16 * MEBIBYTE, private=16 * MEBIBYTE),
            92,
            "92 MiB of request bodies in each worker: memory for 512 MiB is missing, which with the answers may "
            "take 4 times as much",
        ),
        (
            BASE + 4 * EACH,
            Weights(),
            16,
            "16 MiB of request bodies in each worker: memory for 512 MiB is missing, which with the answers may "
            "take 4 times as much",
        ),
    ],
)
def test_request_bodies_may_take_what_is_left(limit: int, models: Weights, most: int, reason: str) -> None:
    assert with_bodies(PLAN, Admission(), models, limit * MEBIBYTE) == replace(
        PLAN, body_bytes=most * MEBIBYTE, reasons=("eight CPUs", reason)
    )


@pytest.mark.parametrize(("admission", "limit"), [(Admission(max_bytes=1 << 30), 1 << 30), (Admission(), None)])
def test_what_is_set_for_request_bodies_is_kept_and_so_is_the_default_without_a_limit(
    admission: Admission, limit: int | None
) -> None:
    assert with_bodies(PLAN, admission, Weights(), limit) == replace(PLAN, body_bytes=admission.max_bytes)
