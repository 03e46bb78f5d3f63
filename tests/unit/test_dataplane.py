"""The dataplane without HTTP: what it answers, in which order, in whose company, and what it accounts for."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Container, Coroutine, Hashable, Iterator, Sequence
from pathlib import Path
from time import thread_time
from typing import Any, cast

import numpy as np
import pytest
from structlog.typing import EventDict

from service.caller import Caller, ClientLeft
from service.dataplane import Dataplane
from service.deadline import Deadline
from service.engine.catalogue import Catalogue
from service.engine.declaration import Declaration
from service.engine.manifest import Entry, Findings
from service.engine.model import Model
from service.engine.runs import Run
from service.engine.session import Compute
from service.errors import InferenceFailed, ModelNotFound, ModelNotReady, Overloaded, SignatureMismatch, VersionNotFound
from service.knobs import Admission, Batching
from service.lane import Inference
from service.tensors import Array, Datatype, Tensors, TensorSpec
from tests import tiny
from tests.unit.gate import Gate
from tests.unit.loading import entry, load
from tests.unit.serving import ANY, serving
from tests.unit.serving import infer as ask_for

Y = [TensorSpec("y", Datatype.FP32, (-1, 4))]
INLINE = Findings(inline_rows=2)


class Heard:
    """What the dataplane reports."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, int]] = []
        self.batches: list[tuple[str, int, int]] = []

    def pending(self, model: str, change: int) -> None:
        self.changes.append((model, change))

    def batch(self, model: str, version: int, rows: int, seconds: float) -> None:
        assert seconds >= 0
        self.batches.append((model, version, rows))


class GatedModel:
    """As much of a model as the dataplane sees. Its first run waits at the gate; all are remembered."""

    name = "gated"
    version = 1
    findings = Findings(batch_rows=64)

    def __init__(self, gate: Gate, run_threads: int) -> None:
        self.declaration = Declaration(run_threads=run_threads)
        self._gate = gate
        self.ran: list[list[int]] = []

    def batch_limit(self, most: int) -> int:
        return most

    def batch_key(self, tensors: Tensors) -> Hashable:
        return tensors["x"].shape[1:]

    def check(self, tensors: Tensors) -> int:
        return len(tensors["x"])

    def run_together(
        self, requests: Sequence[Tensors], rows: Sequence[int], outputs: Sequence[str], run: Run | None = None
    ) -> list[list[Array]]:
        self.ran.append([int(tensors["x"].flat[0]) for tensors in requests])
        if len(self.ran) == 1:
            self._gate.pass_through()
        return [[tensors["x"]] * len(outputs) for tensors in requests]


class SlowModel(Model):
    """Takes two milliseconds of CPU time for these of its runs."""

    def __init__(self, entry: Entry, slow: Container[int]) -> None:
        super().__init__(entry, Compute())
        self._slow = slow
        self._runs = 0

    def run(self, tensors: Tensors, outputs: Sequence[str], run: Run | None = None) -> list[Array]:
        until = thread_time() + 0.002 * (self._runs in self._slow)
        self._runs += 1
        while thread_time() < until:
            pass
        return super().run(tensors, outputs, run)


def x(value: int = 1, *, rows: int = 1, columns: int = 4) -> dict[str, Array]:
    return {"x": np.full((rows, columns), value, np.float32)}


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def dataplane(catalogue: Catalogue, heard: Heard) -> Iterator[Dataplane]:
    """It serves the tiny models."""
    made = serving(catalogue, heard)
    yield made
    made.close()


def infer(model: Model, *requests: Tensors, heard: Heard) -> list[Inference | BaseException]:
    """What a dataplane that serves this model answers to requests that arrive at the same time."""

    async def run() -> list[Inference | BaseException]:
        dataplane = serving(Catalogue(1, [model]), heard)
        asked = (ask_for(dataplane, model.name, tensors, model.signature.outputs) for tensors in requests)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        dataplane.close()
        return answers

    return asyncio.run(run())


Scenario = Callable[[Dataplane, Gate], Coroutine[Any, Any, None]]


def gated(
    scenario: Scenario,
    *others: Model,
    heard: Heard | None = None,
    max_rows: int = 1,
    run_threads: int = 1,
    bounds: Admission = ANY,
) -> list[list[int]]:
    """Run it with a dataplane that serves a gated model; returns the batches that this model ran."""

    async def run() -> list[list[int]]:
        gate = Gate()
        model = GatedModel(gate, run_threads)
        dataplane = serving(Catalogue(1, [cast(Model, model), *others]), heard or Heard(), max_rows, bounds)
        await scenario(dataplane, gate)
        dataplane.close()
        return model.ran

    return asyncio.run(run())


def ask(dataplane: Dataplane, value: int, columns: int = 1, outputs: Sequence[TensorSpec] = Y) -> asyncio.Task[Any]:
    return asyncio.create_task(ask_for(dataplane, "gated", x(value, columns=columns), outputs))


def test_before_anything_is_served_no_model_is_known(heard: Heard) -> None:
    dataplane = serving(Catalogue(0, []), heard)
    with pytest.raises(ModelNotFound):
        dataplane.resolve("double")
    assert dataplane.catalogue.models == []
    dataplane.close()


def test_a_model_is_resolved_by_name_and_version(dataplane: Dataplane) -> None:
    assert dataplane.resolve("double") is dataplane.resolve("double", "1")
    with pytest.raises(VersionNotFound):
        dataplane.resolve("double", "2")


def test_an_inference_has_its_outputs_its_rows_and_its_times(tmp_path: Path, heard: Heard) -> None:
    [done] = infer(load(tiny.double(), tmp_path), x(3, rows=2), heard=heard)
    assert isinstance(done, Inference)
    assert [output.tolist() for output in done.outputs] == [[[6] * 4] * 2]
    assert done.rows == 2
    assert min(done.queue, done.run) >= 0
    assert (heard.changes, heard.batches) == ([("tiny", 1), ("tiny", -1)], [("tiny", 1, 2)])


def test_outputs_come_in_the_order_asked_for(dataplane: Dataplane) -> None:
    model = dataplane.resolve("add_sub")
    inputs = {name: np.ones((1, 16), np.int32) for name in "ab"}
    for names, sums in ((["difference", "sum"], [0, 32]), (["sum"], [32])):
        done = asyncio.run(ask_for(dataplane, "add_sub", inputs, model.signature.select(names)))
        assert [int(output.sum()) for output in done.outputs] == sums


def test_what_does_not_fit_is_refused_before_it_counts(dataplane: Dataplane, heard: Heard) -> None:
    with pytest.raises(SignatureMismatch):
        asyncio.run(ask_for(dataplane, "double", {}, Y))
    assert (heard.changes, heard.batches) == ([], [])


def test_a_run_that_fails_is_pending_no_more(tmp_path: Path, heard: Heard) -> None:
    [failure] = infer(load(tiny.failing(), tmp_path), {"index": np.array([9])}, heard=heard)
    assert isinstance(failure, InferenceFailed)
    assert heard.changes == [("tiny", 1), ("tiny", -1)]


def test_a_tiny_model_runs_at_once_and_nothing_waits(tmp_path: Path, heard: Heard) -> None:
    [done] = infer(load(tiny.double(), tmp_path, findings=INLINE), x(3, rows=2), heard=heard)
    assert isinstance(done, Inference)
    assert (done.outputs[0].tolist(), done.rows, done.queue) == ([[6] * 4] * 2, 2, 0)
    assert (heard.changes, heard.batches) == ([], [("tiny", 1, 2)])


def test_more_rows_than_the_event_loop_can_take_run_in_a_thread(tmp_path: Path, heard: Heard) -> None:
    infer(load(tiny.double(), tmp_path, findings=INLINE), x(rows=3), heard=heard)
    assert (heard.changes, heard.batches) == ([("tiny", 1), ("tiny", -1)], [("tiny", 1, 3)])


@pytest.mark.parametrize(
    ("slow", "runs", "waited"),
    [
        pytest.param({0, 1}, 3, 1, id="twice"),
        pytest.param({0, 8}, 10, 1, id="again within eight runs"),
        pytest.param({0, 9}, 11, 0, id="again much later"),
        pytest.param({0}, 11, 0, id="once"),
        pytest.param(set(), 11, 0, id="never"),
    ],
)
def test_a_model_that_turns_out_slow_leaves_the_event_loop(
    tmp_path: Path, heard: Heard, records: list[EventDict], slow: set[int], runs: int, waited: int
) -> None:
    """One slow run may be the machine's doing."""
    checked = entry(tiny.double(), tmp_path).model_copy(update={"findings": INLINE})
    infer(SlowModel(checked, slow), *[x()] * runs, heard=heard)
    assert (heard.changes, heard.batches) == ([("tiny", 1), ("tiny", -1)] * waited, [("tiny", 1, 1)] * runs)
    told = [record for record in records if record["event"] == "inline_off"]
    assert [record.pop("seconds") > 0.002 for record in told] == [True] * waited
    assert told == [{"event": "inline_off", "log_level": "warning", "model": "tiny", "version": 1}] * waited


def test_a_model_that_is_declared_inline_stays_there(tmp_path: Path, heard: Heard) -> None:
    checked = entry(tiny.double(), tmp_path, inline=True).model_copy(update={"findings": INLINE})
    infer(SlowModel(checked, range(3)), *[x()] * 3, heard=heard)
    assert (heard.changes, heard.batches) == ([], [("tiny", 1, 1)] * 3)


def test_requests_run_in_the_order_they_came() -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        asked = [ask(dataplane, value) for value in range(4)]
        await gate.begun.wait()
        gate.open()
        await asyncio.gather(*asked)

    assert gated(scenario) == [[0], [1], [2], [3]]


def test_requests_that_wait_run_together_up_to_the_rows_that_are_set(heard: Heard) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        first = ask(dataplane, 0)
        await gate.begun.wait()
        asked = [ask(dataplane, value) for value in range(1, 4)]
        gate.open()
        answers = await asyncio.gather(first, *asked)
        assert [answer.outputs[0].tolist() for answer in answers] == [[[0]], [[1]], [[2]], [[3]]]

    assert gated(scenario, heard=heard, max_rows=2) == [[0], [1, 2], [3]]
    assert heard.batches == [("gated", 1, 1), ("gated", 1, 2), ("gated", 1, 1)]


def test_requests_that_differ_in_shape_or_outputs_do_not_run_together() -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        first = ask(dataplane, 0)
        await gate.begun.wait()
        asked = [
            ask(dataplane, 1),
            ask(dataplane, 2, columns=2),
            ask(dataplane, 3, outputs=[*Y, *Y]),
            ask(dataplane, 4),
        ]
        gate.open()
        answers = await asyncio.gather(first, *asked)
        assert [len(answer.outputs) for answer in answers] == [1, 1, 1, 2, 1]

    assert gated(scenario, max_rows=8) == [[0], [1, 4], [2], [3]]


def test_one_request_that_fails_does_not_harm_those_beside_it(tmp_path: Path, heard: Heard) -> None:
    model = load(tiny.failing(), tmp_path, findings=Findings(batch_rows=8))
    first, failure, last = infer(model, *({"index": np.array([index])} for index in (0, 9, 2)), heard=heard)
    assert isinstance(first, Inference)
    assert isinstance(failure, InferenceFailed)
    assert isinstance(last, Inference)
    assert [done.outputs[0].tolist() for done in (first, last)] == [[[0, 1]], [[4, 5]]]


def test_a_caller_that_leaves_while_it_waits_is_never_run_and_pending_no_more(heard: Heard) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        first, gone, last = (ask(dataplane, value) for value in range(3))
        await gate.begun.wait()
        assert heard.changes == [("gated", 1)] * 3
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert heard.changes == [("gated", 1)] * 3 + [("gated", -1)]
        gate.open()
        assert [(await task).rows for task in (first, last)] == [1, 1]

    assert gated(scenario, heard=heard) == [[0], [2]]
    assert heard.changes == [("gated", 1)] * 3 + [("gated", -1)] * 3


def test_one_model_does_not_wait_for_another(tmp_path: Path) -> None:
    double = load(tiny.double(), tmp_path)

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        blocked = ask(dataplane, 0)
        await gate.begun.wait()
        done = await ask_for(dataplane, double.name, x(), Y)
        assert done.outputs[0].tolist() == [[2] * 4]
        gate.open()
        await blocked

    assert gated(scenario, double) == [[0]]


def test_a_model_may_run_in_several_threads() -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        blocked = ask(dataplane, 0)
        await gate.begun.wait()
        assert (await ask(dataplane, 1)).rows == 1
        gate.open()
        await blocked

    assert gated(scenario, run_threads=2) == [[0], [1]]


class Generations:
    """A dataplane of which the test commits the generations: version 1 in the first, version 2 in the second."""

    def __init__(self, folder: Path, heard: Heard) -> None:
        self.committed = 1
        self.switched: list[int] = []
        self.models = [load(tiny.double(), folder / str(number), version=number) for number in (1, 2)]
        self.dataplane = Dataplane(Batching(), Admission(), heard, lambda: self.committed, self._on_switch)
        self.is_deaf = False
        self.dataplane.stage(Catalogue(1, self.models[:1]))

    def _on_switch(self, new: Catalogue) -> None:
        if self.is_deaf:
            raise OSError("Too many open files")
        self.switched.append(new.generation)

    def stage(self, *models: Model) -> None:
        self.dataplane.stage(Catalogue(2, models))

    def served(self) -> int:
        return self.dataplane.resolve("tiny").version


@pytest.fixture
def generations(tmp_path: Path, heard: Heard) -> Iterator[Generations]:
    made = Generations(tmp_path, heard)
    yield made
    made.dataplane.close()


def test_a_generation_is_served_from_the_request_on_that_follows_its_commit(generations: Generations) -> None:
    assert generations.served() == 1
    generations.stage(generations.models[1])
    assert (generations.served(), sorted(generations.dataplane.staged)) == (1, [1, 2])
    generations.committed = 2
    assert (generations.served(), sorted(generations.dataplane.staged), generations.switched) == (2, [2], [1, 2])


def test_a_generation_that_is_called_off_is_forgotten(generations: Generations) -> None:
    assert generations.served() == 1
    generations.stage(generations.models[1])
    generations.dataplane.unstage(2)
    assert generations.dataplane.staged == {1}
    assert generations.dataplane.take_garbage() == generations.models[1:]
    assert generations.dataplane.take_garbage() == []


def test_what_is_served_can_be_looked_at_without_changing_over(generations: Generations) -> None:
    """For threads, such as that of a scrape: only the event loop may change over."""
    assert generations.served() == 1
    generations.stage(generations.models[1])
    generations.committed = 2
    assert (generations.dataplane.last_served.generation, generations.switched) == (1, [1])
    assert generations.served() == 2


def test_who_fails_when_told_of_a_change_does_not_keep_the_old_models_alive(generations: Generations) -> None:
    assert generations.served() == 1
    generations.stage(generations.models[1])
    generations.committed, generations.is_deaf = 2, True
    with pytest.raises(OSError, match=r"^Too many open files$"):
        generations.served()
    assert (generations.served(), generations.dataplane.take_garbage()) == (2, generations.models[:1])


def test_what_was_never_staged_is_not_served(generations: Generations) -> None:
    assert generations.served() == 1
    generations.committed = 2
    assert (generations.served(), generations.switched) == (1, [1])


def test_a_request_ends_in_the_generation_that_admitted_it(generations: Generations) -> None:
    dataplane = generations.dataplane
    generations.stage(generations.models[1])
    with dataplane.enter("tiny") as lane:
        generations.committed = 2
        assert (generations.served(), dataplane.take_garbage()) == (2, [])
        done = asyncio.run(lane.infer(x(), lane.model.signature.outputs))
        assert (lane.model.version, done.outputs[0].tolist()) == (1, [[2] * 4])
    assert dataplane.take_garbage() == generations.models[:1]


def test_a_model_that_a_reload_has_not_changed_keeps_its_lane(generations: Generations) -> None:
    dataplane = generations.dataplane
    with dataplane.enter("tiny") as before:
        generations.stage(generations.models[0])
        generations.committed = 2
        with dataplane.enter("tiny") as after:
            assert (after is before, dataplane.take_garbage()) == (True, [])


def test_a_model_that_is_gone_takes_its_memory_along(generations: Generations) -> None:
    """Without the garbage collector, which comes by rarely."""
    assert generations.served() == 1
    generations.stage(generations.models[1])
    model = weakref.ref(generations.models.pop(0))
    gc.collect()
    gc.disable()
    try:
        with generations.dataplane.enter("tiny") as lane:
            asyncio.run(lane.infer(x(), lane.model.signature.outputs))
            generations.committed = 2
            assert (generations.served(), model() is None) == (2, False)
        del lane
        garbage = generations.dataplane.take_garbage()
        assert [each.version for each in garbage] == [1]
        garbage.clear()
        for thread in threading.enumerate():
            if thread.name.startswith("run-tiny"):
                thread.join()  # it lets go of its last run a moment after that has ended
        assert model() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("levels", "priority", "level"),
    [(0, 0, 1), (0, 7, 1), (1, 0, 1), (1, 9, 1), (2, 0, 2), (3, 0, 2), (3, 1, 1), (3, 3, 3), (3, 4, 3), (4, 0, 3)],
)
def test_a_priority_is_one_of_the_levels_and_the_middle_where_none_is_given(
    catalogue: Catalogue, heard: Heard, levels: int, priority: int, level: int
) -> None:
    made = serving(catalogue, heard, bounds=Admission(priority_levels=levels))
    with made.enter("double") as lane:
        assert lane._level(priority) == level
    made.close()


@pytest.mark.parametrize("levels", [0, 3])
def test_who_would_wait_behind_too_many_is_refused_before_there_is_any_work(levels: int) -> None:
    """What it would say of its urgency is not known yet: those who are as urgent as can be are ahead of it."""

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        with dataplane.enter("gated") as lane:
            lane.admit()
            running = asyncio.create_task(lane.infer(x(0), Y))
            await gate.begun.wait()
            lane.admit()
            waiting = asyncio.create_task(lane.infer(x(1), Y, priority=1))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match=r"^model 'gated' has too much to do: 1 requests wait") as caught:
                lane.admit()
            assert caught.value.reason == "waiting"
            with pytest.raises(Overloaded):
                await lane.infer(x(2), Y, priority=1)
        gate.open()
        await asyncio.gather(running, waiting)

    bounds = Admission(max_waiting=1, priority_levels=levels)
    assert gated(scenario, bounds=bounds) == [[0], [1]]


def test_who_is_overtaken_for_longer_than_any_may_wait_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    for module in ("batcher", "queue"):
        monkeypatch.setattr(f"service.scheduling.{module}.perf_counter", lambda: now[0])

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        with dataplane.enter("gated") as lane:
            running = asyncio.create_task(lane.infer(x(0), Y))
            await gate.begun.wait()
            patient = asyncio.create_task(lane.infer(x(1), Y, priority=2))
            await asyncio.sleep(0)
            now[0] += 3
            urgent = asyncio.create_task(lane.infer(x(2), Y, priority=1))
            with pytest.raises(
                Overloaded, match=r"^model 'gated' has too much to do: more urgent requests came for 2000"
            ):
                await patient
        gate.open()
        await asyncio.gather(running, urgent)

    assert gated(scenario, bounds=Admission(priority_levels=2)) == [[0], [2]]


def test_a_model_that_runs_on_the_event_loop_never_refuses(tmp_path: Path, heard: Heard) -> None:
    made = serving(
        Catalogue(1, [load(tiny.double(), tmp_path, findings=INLINE)]), heard, bounds=Admission(max_waiting=0)
    )
    with made.enter("tiny") as lane:
        lane.admit(Deadline.after(1, 0))
    made.close()


def test_a_caller_that_leaves_and_one_whose_time_is_over_are_pending_no_more(heard: Heard) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        caller = Caller()
        with dataplane.enter("gated") as lane:
            first = asyncio.create_task(lane.infer(x(0), Y))
            await gate.begun.wait()
            gone = asyncio.create_task(lane.infer(x(1), Y, caller=caller))
            await asyncio.sleep(0)
            caller.leave()
            with pytest.raises(ClientLeft, match=r"^queue$"):
                await gone
            gate.open()
            await first

    assert gated(scenario, heard=heard) == [[0]]
    assert sum(change for _, change in heard.changes) == 0


def test_nobody_waits_behind_a_run_that_does_not_end(tmp_path: Path, heard: Heard) -> None:
    made = serving(Catalogue(1, [load(tiny.double(), tmp_path)]), heard)
    made.runs.note_stuck(Run("tiny", 1))
    with pytest.raises(ModelNotReady, match=r"^model 'tiny' is not ready: a run of it does not end"):
        asyncio.run(ask_for(made, "tiny", x(), Y))
    assert heard.changes == []
    made.close()
