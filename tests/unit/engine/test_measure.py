"""What running a model shows: whether rows go together, how many pay, and whether a thread is worth its price."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import onnx
import pytest
from structlog.typing import EventDict

from service.engine.declaration import Declaration
from service.engine.manifest import Findings
from service.engine.measure import (
    INLINE_SECONDS,
    RUN_SECONDS,
    Run,
    another,
    best_rows,
    inline_rows,
    is_predictable,
    measure,
    rows_are_independent,
)
from service.engine.model import Model
from service.engine.session import Compute
from service.engine.warm_up import warm_up
from service.errors import InferenceFailed, RepositoryError
from service.tensors import Array, Datatype, Signature, Tensors, TensorSpec
from tests import tiny
from tests.oip import Json
from tests.unit import models
from tests.unit.loading import entry, load

ROW: Tensors = {"x": np.ones((1, 4), np.float32)}
MILLISECOND = Fraction(1, 1000)
LIMIT = Fraction(INLINE_SECONDS)
EACH_RUN = Fraction(RUN_SECONDS)
PADDING: Json = {"sequence": {"inputs": {"ids": 0, "mask": 0}, "mask": "mask", "max_waste": 2}}


class Machine:
    """Its time passes while a model runs, and by `tick` at each look at the clock; fractions keep it exact."""

    def __init__(self) -> None:
        self.now = Fraction(0)
        self.tick = Fraction(0)
        self.ran: list[int] = []

    def clock(self) -> Fraction:
        self.now += self.tick
        return self.now

    def taking(self, cost: Callable[[int], Fraction]) -> Run:
        """A model that takes so long for so many rows."""

        def run(tensors: Tensors) -> Sequence[Array]:
            rows = len(tensors["x"])
            self.ran.append(rows)
            self.now += cost(rows)
            return []

        return run


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr("service.engine.measure.perf_counter", made.clock)
    return made


def warm(proto: onnx.ModelProto, root: Path, **declared: Any) -> Model:
    model = load(proto, root, **declared)
    warm_up(model)
    return model


def each(change: Callable[[Array], Array]) -> Run:
    """A model that does this to all its rows at once."""
    return lambda tensors: [change(tensors["x"])]


@pytest.mark.parametrize(
    ("run", "independent"),
    [
        pytest.param(each(lambda x: x * 2), True, id="each row by itself"),
        pytest.param(each(lambda x: x / x.sum()), False, id="a share of all rows"),
        pytest.param(each(lambda x: x.sum(axis=1)), True, id="a number for each row"),
        pytest.param(each(lambda x: x.sum(axis=0)), False, id="one row for all rows"),
        pytest.param(each(lambda x: x - x.mean(axis=0)), False, id="what differs from the mean of all rows"),
        pytest.param(each(lambda x: x / (1 + np.abs(x).max(axis=0))), False, id="a share of the greatest row"),
        pytest.param(each(lambda x: x[::-1]), False, id="other rows' answers"),
        pytest.param(each(lambda x: x.repeat(3, axis=0)), False, id="three rows for each row"),
        pytest.param(each(lambda x: x[:0]), False, id="no rows"),
        pytest.param(each(lambda x: np.concatenate([x, x[:1]])), False, id="a row more"),
        pytest.param(each(lambda x: np.ones((2 * len(x), 1 + len(x)))), False, id="rows that grow wider"),
        pytest.param(each(lambda x: x.astype(np.int64) + len(x)), False, id="integers that depend on the rows"),
        pytest.param(each(lambda x: x.astype(str).astype(object)), True, id="texts"),
        pytest.param(each(lambda x: np.full(x.shape, str(len(x)), object)), False, id="texts that depend on the rows"),
        pytest.param(each(lambda x: x * np.nan), True, id="no numbers"),
        pytest.param(each(lambda x: x * (np.nan if len(x) > 1 else 1)), False, id="no numbers beside others"),
        pytest.param(each(lambda x: x + 0.009 * len(x)), True, id="rounding"),
        pytest.param(each(lambda x: x + 0.03 * len(x)), False, id="more than rounding"),
        pytest.param(lambda tensors: [tensors["x"], tensors["x"].sum(axis=0)], False, id="the second output only"),
        pytest.param(lambda tensors: [], True, id="no outputs"),
    ],
)
def test_rows_are_independent_when_each_comes_out_the_same_in_company(run: Run, independent: bool) -> None:
    assert rows_are_independent(run, ROW, tolerance=0.01) is independent


@pytest.mark.parametrize(
    ("row", "other"),
    [
        (np.array([[1, 2, 3]]), [[3, 1, 2]]),
        (np.array([[1, 1, 1]], np.uint8), [[0, 0, 0]]),
        (np.array([[True, True]]), [[False, False]]),
        (np.array([[True, False]]), [[False, True]]),
        (np.array([7]), [0]),
        (np.array([["a", "b"]], np.object_), [["b", "a"]]),
        (np.array([["a"]], np.object_), [["a"]]),
        (np.array([[2, 2, 2]], np.float32), [[0.5, 2, 3.5]]),
        (np.array([[0, 0, 0]], np.float16), [[-0.5, 0, 0.5]]),
        (np.array([[4.0, 2.0]]), [[0.5, 6.5]]),
        (np.array([3.0]), [1.0]),
        (np.empty((1, 0)), [[]]),
    ],
)
def test_another_row_is_made_of_values_like_those_of_the_first(row: Array, other: list[Any]) -> None:
    made = another({"x": row})["x"]
    assert (made.dtype, made.tolist()) == (row.dtype, other)


def spec(shape: tuple[int, ...] | None, datatype: Datatype = Datatype.FP32) -> TensorSpec:
    return TensorSpec("x", datatype, shape)


@pytest.mark.parametrize(
    ("given", "output", "batch", "operators", "predictable"),
    [
        (spec((-1, 4)), spec((-1, 2)), True, {"Gemm"}, True),
        (spec((-1,)), spec((-1,)), True, set(), True),
        (spec((1, 4)), spec((2,)), False, {"Gemm"}, True),
        (spec(()), spec(()), False, {"Add"}, True),
        (spec((-1, 4)), spec((-1, 2)), False, {"Gemm"}, False),
        (spec((-1, -1)), spec((-1, 2)), True, {"Gemm"}, False),
        (spec((-1, 4)), spec((-1, -1)), True, {"Gemm"}, False),
        (spec(None), spec((1,)), False, {"Gemm"}, False),
        (spec((1,)), spec(None), False, {"Gemm"}, False),
        (spec((-1, 4), Datatype.BYTES), spec((-1, 2)), True, {"Gemm"}, False),
        (spec((-1, 4)), spec((-1,), Datatype.BYTES), True, {"Gemm"}, False),
        *((spec((-1, 4)), spec((-1, 2)), True, {"Gemm", name}, False) for name in ("Loop", "If", "Scan", "NonZero")),
    ],
)
def test_a_model_is_predictable_when_nothing_but_its_rows_varies(
    given: TensorSpec, output: TensorSpec, batch: bool, operators: set[str], predictable: bool
) -> None:
    assert is_predictable(Signature((given,), (output,), batch), frozenset(operators)) is predictable


@pytest.mark.parametrize(
    ("cost", "best"),
    [
        pytest.param(lambda rows: 10, 64, id="many cost as much as one"),
        pytest.param(lambda rows: rows, 1, id="each costs the same"),
        pytest.param(lambda rows: rows if rows == 1 else rows * 2, 1, id="many cost more"),
        pytest.param(lambda rows: max(rows, 8), 8, id="up to eight are free"),
        pytest.param(lambda rows: rows if rows == 1 else rows * 0.98, 1, id="too little is won"),
        pytest.param(lambda rows: rows if rows == 1 else rows * 0.96, 2, id="enough is won"),
        pytest.param(lambda rows: 14 if rows == 4 else rows + 1, 64, id="four are an exception"),
    ],
)
def test_the_best_batch_is_the_one_whose_rows_cost_least(
    machine: Machine, cost: Callable[[int], float], best: int
) -> None:
    def seconds(rows: int) -> Fraction:
        return Fraction(cost(rows)) * MILLISECOND / 5 - EACH_RUN  # which costs that besides

    rows, row_seconds = best_rows(machine.taking(seconds), ROW)
    assert rows == best
    assert row_seconds == pytest.approx(cost(best) / 5000 / best)
    assert machine.ran == [rows for rows in (1, 2, 4, 8, 16, 32, 64) for _ in range(5)]


@pytest.mark.parametrize(
    ("milliseconds", "ran"),
    [
        (99, [1] * 5 + [2] * 5),
        (100, [1] * 5),
        (1000, [1] * 5),
        (1001, [1]),
    ],
)
def test_a_slow_model_is_not_measured_for_long(machine: Machine, milliseconds: int, ran: list[int]) -> None:
    best_rows(machine.taking(lambda rows: milliseconds * MILLISECOND), ROW)
    assert machine.ran == ran


def test_a_model_that_fails_on_many_rows_runs_fewer(machine: Machine) -> None:
    def cost(rows: int) -> Fraction:
        if rows > 8:
            raise InferenceFailed("tiny", 1)
        return MILLISECOND

    assert best_rows(machine.taking(cost), ROW)[0] == 8


def test_what_else_the_machine_does_is_not_held_against_a_batch(machine: Machine) -> None:
    """The second of two rows' runs is the one that nothing has disturbed."""
    costs = iter([*[10 * MILLISECOND] * 5, *(milliseconds * MILLISECOND for milliseconds in (90, 10, 90, 90, 90))])
    assert best_rows(machine.taking(lambda rows: next(costs, rows * 10 * MILLISECOND)), ROW)[0] == 2


@pytest.mark.parametrize(
    ("cost", "batch", "rows", "ran"),
    [
        pytest.param(lambda rows: Fraction(0), True, 64, [1, 2, 4, 8, 16, 32, 64], id="all"),
        pytest.param(lambda rows: Fraction(0), False, 1, [1], id="without a batch axis"),
        pytest.param(lambda rows: rows * LIMIT * 2 / 5, True, 2, [1, 2, 4], id="two"),
        pytest.param(lambda rows: LIMIT * Fraction(9, 10), False, 1, [1], id="just below the limit"),
        pytest.param(lambda rows: LIMIT, True, 0, [1], id="not even one"),
        pytest.param(lambda rows: LIMIT, False, 0, [1], id="not even that one"),
    ],
)
def test_the_event_loop_runs_as_many_rows_as_stay_below_the_limit(
    machine: Machine, cost: Callable[[int], Fraction], batch: bool, rows: int, ran: list[int]
) -> None:
    assert inline_rows(machine.taking(cost), ROW, batch) == rows
    assert machine.ran == [rows for rows in ran for _ in range(5)]


def test_a_model_that_fails_on_many_rows_runs_fewer_on_the_event_loop(machine: Machine) -> None:
    def cost(rows: int) -> Fraction:
        if rows > 8:
            raise InferenceFailed("tiny", 1)
        return Fraction(0)

    assert inline_rows(machine.taking(cost), ROW, batch=True) == 8


def test_a_run_that_is_far_too_long_for_the_event_loop_is_not_repeated(machine: Machine) -> None:
    assert inline_rows(machine.taking(lambda rows: 3 * LIMIT), ROW, batch=True) == 0
    assert machine.ran == [1]


INSTANT, SLOW = Fraction(0), MILLISECOND
TOGETHER = Findings(together=True, batch_rows=64)
INLINE = Findings(together=True, batch_rows=64, inline_rows=64)


def unpaced(findings: Findings) -> Findings:
    """Without the seconds, which are the test machine's."""
    return findings.model_copy(update={"row_seconds": 0.0})


NO_ROWS: Json = {"x": {"shape": [0, 4]}}


@pytest.mark.parametrize(
    ("proto", "declared", "tick", "findings"),
    [
        pytest.param(
            tiny.double(), {}, INSTANT, Findings(together=True, batch_rows=64, inline_rows=64), id="no time at all"
        ),
        pytest.param(tiny.double(), {}, SLOW, Findings(together=True, batch_rows=64), id="as long for all as for one"),
        pytest.param(tiny.double(), {"batch": False}, INSTANT, Findings(), id="rows that are none"),
        pytest.param(tiny.double(), {"inline": False}, INSTANT, TOGETHER, id="declared as one for threads"),
        pytest.param(tiny.fixed(), {}, INSTANT, Findings(inline_rows=1), id="one fixed row"),
        pytest.param(tiny.fixed(), {}, SLOW, Findings(), id="one fixed and slow row"),
        pytest.param(tiny.reciprocal(), {}, INSTANT, TOGETHER, id="any length of a row"),
        pytest.param(
            tiny.reciprocal(),
            {"inline": True},
            INSTANT,
            Findings(together=True, batch_rows=64, inline_rows=64),
            id="declared inline",
        ),
        pytest.param(
            tiny.reciprocal(), {"inline": True}, SLOW, Findings(together=True, batch_rows=64), id="declared, and slow"
        ),
        pytest.param(
            tiny.double(), {"session": {"intra_op_threads": 2}}, INSTANT, TOGETHER, id="more threads than one"
        ),
        pytest.param(tiny.sevens(), {}, INSTANT, Findings(), id="nothing that it runs with"),
        pytest.param(tiny.constant(), {}, INSTANT, Findings(), id="no inputs"),
        pytest.param(models.share(), {}, SLOW, Findings(), id="rows that influence each other"),
        pytest.param(models.centred(), {}, SLOW, Findings(), id="rows that are normalised by each other"),
        pytest.param(models.share(), {"warm_up": [NO_ROWS]}, SLOW, Findings(), id="an example without rows"),
        pytest.param(models.one_row_only(), {}, SLOW, Findings(), id="more rows than one fail"),
        pytest.param(
            models.one_row_only(), {}, INSTANT, Findings(inline_rows=1), id="more rows than one fail, and one is fast"
        ),
    ],
)
def test_a_model_is_measured_by_its_example(
    tmp_path: Path, machine: Machine, proto: onnx.ModelProto, declared: Json, tick: Fraction, findings: Findings
) -> None:
    model = warm(proto, tmp_path, **declared)
    machine.tick = tick
    assert unpaced(measure(model)) == findings


def test_a_model_on_another_device_is_left_to_threads(tmp_path: Path, machine: Machine) -> None:
    checked = entry(tiny.double(), tmp_path)
    model = Model(checked, Compute(providers=("AzureExecutionProvider", "CPUExecutionProvider")))
    warm_up(model)
    assert unpaced(measure(model)) == TOGETHER


class FakeModel:
    """As much of a model as is measured; its example has three rows."""

    declaration = Declaration()
    signature = Signature((spec((-1, 4)),), (spec((-1, 4)),), batch=True)
    runs_on_one_cpu_thread = True
    padding = None
    example: ClassVar[Tensors] = {"x": np.ones((3, 4), np.float32)}

    def __init__(self, *operators: str) -> None:
        self.operators = frozenset(operators)
        self.ran: list[int] = []

    def run_all(self, tensors: Tensors) -> list[Array]:
        self.ran.append(len(tensors["x"]))
        return [tensors["x"]]


@pytest.mark.parametrize(("operator", "together"), [("Add", True), ("Unique", False), ("Compress", False)])
def test_rows_of_a_model_that_may_leave_some_out_do_not_go_together(
    machine: Machine, operator: str, together: bool
) -> None:
    assert measure(cast(Model, FakeModel("Add", operator))).together is together


def test_one_row_of_a_larger_example_is_measured(machine: Machine) -> None:
    model = FakeModel()
    measure(cast(Model, model))
    counts = (1, 2, 4, 8, 16, 32, 64)
    assert model.ran == [1, 1, 2, *(rows for _ in ("batch", "inline") for rows in counts for _ in range(5))]


@pytest.mark.parametrize("proto", [models.share(), models.one_row_only()], ids=["influence", "failure"])
def test_rows_that_cannot_go_together_are_told(
    tmp_path: Path, machine: Machine, records: list[EventDict], proto: onnx.ModelProto
) -> None:
    model = warm(proto, tmp_path)
    machine.tick = SLOW
    measure(model)
    assert [record for record in records if record["log_level"] != "debug"] == [
        {
            "event": "batching_off",
            "log_level": "warning",
            "model": "tiny",
            "version": 1,
            "reason": "a row fails or comes out differently beside another: its requests run one by one",
            "hint": "batch = false in model.toml says so without this warning",
        }
    ]


def test_an_output_that_is_declared_with_one_row_is_named(
    tmp_path: Path, machine: Machine, records: list[EventDict]
) -> None:
    """As an exporter does that forgets the batch axis of what it adds."""
    proto = tiny.double()
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    model = warm(proto, tmp_path)
    machine.tick = SLOW
    measure(model)
    told = [record for record in records if record["event"] == "batching_off"]
    assert [(record["log_level"], record["reason"]) for record in told] == [
        (
            "warning",
            "the first dimension of every input is free, that of output 'y' is not: FP32[1,4]; "
            "its requests run one by one",
        )
    ]


def test_a_model_without_a_batch_axis_is_not_told_that_batching_is_off(
    tmp_path: Path, records: list[EventDict]
) -> None:
    measure(warm(models.share(), tmp_path, batch=False))
    assert [record["event"] for record in records] == ["warmed_up"]


@pytest.mark.parametrize(
    ("tick", "pads", "told"),
    [
        (SLOW, True, []),
        (
            INSTANT,
            False,
            [
                {
                    "event": "padding_off",
                    "log_level": "info",
                    "model": "tiny",
                    "version": 1,
                    "reason": "padded runs cost more than single ones",
                }
            ],
        ),
    ],
)
def test_padding_is_kept_where_it_wins(
    tmp_path: Path, machine: Machine, records: list[EventDict], tick: Fraction, pads: bool, told: list[EventDict]
) -> None:
    model = warm(models.masked_mean(), tmp_path, padding=PADDING)
    machine.tick = tick
    assert measure(model).pads is pads
    assert [record for record in records if record["log_level"] != "debug"] == told


def test_padding_that_is_too_long_for_the_model_is_off(
    tmp_path: Path, machine: Machine, records: list[EventDict]
) -> None:
    """The example has the greatest length that the model takes: stretched, it fails."""
    example = {name: {"shape": [1, 8]} for name in ("ids", "mask")}
    model = warm(models.up_to_eight(), tmp_path, padding=PADDING, warm_up=[example])
    machine.tick = SLOW
    assert unpaced(measure(model)) == Findings(together=True, batch_rows=64)
    [record] = [record for record in records if record["log_level"] != "debug"]
    assert record.pop("reason").endswith(" 8 by 16")
    assert record == {"event": "padding_off", "log_level": "warning", "model": "tiny", "version": 1}


def test_padding_that_changes_an_answer_is_refused(tmp_path: Path) -> None:
    example = {name: {"shape": [1, 3], "data": [2, 2, 2]} for name in ("ids", "mask")}
    model = warm(models.masked_mean(covered=False), tmp_path, padding=PADDING, warm_up=[example])
    with pytest.raises(RepositoryError) as caught:
        measure(model)
    assert str(caught.value) == "padding in model.toml changes output 'mean': the mask does not cover it"


def test_padding_may_change_an_answer_by_the_models_tolerance(tmp_path: Path) -> None:
    example = {name: {"shape": [1, 3], "data": [2, 2, 2]} for name in ("ids", "mask")}
    measure(warm(models.masked_mean(covered=False), tmp_path, padding=PADDING, warm_up=[example], tolerance=1))


def test_rows_that_influence_each_other_are_not_padded(tmp_path: Path, machine: Machine) -> None:
    padding = {"n": {"inputs": {"x": 0}, "mask": "x"}}
    proto = models.share()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[1].dim_param = "n"
    machine.tick = SLOW
    assert unpaced(measure(warm(proto, tmp_path, padding=padding))) == Findings()


def test_an_example_of_minus_ones_has_another_row_too(tmp_path: Path) -> None:
    """What is made of it is the same row again, and hides that the rows of this model influence each other."""
    model = load(models.centred(), tmp_path, warm_up=[{"x": {"shape": [1, 4], "data": [-1, -1, -1, -1]}}])
    warm_up(model)
    assert not measure(model).together


def test_how_long_a_row_takes_is_that_of_the_best_batch(tmp_path: Path, machine: Machine) -> None:
    model = warm(tiny.double(), tmp_path)
    machine.tick = SLOW
    assert measure(model).row_seconds == float(SLOW + EACH_RUN) / 64


def test_how_long_a_row_takes_is_not_known_where_nothing_runs(tmp_path: Path) -> None:
    assert measure(warm(tiny.sevens(), tmp_path)).row_seconds == 0
