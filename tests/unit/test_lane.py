"""One model's way to be run, where callers send instances: whole batches for the transform, and each to its own."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from service.caller import Caller, ClientLeft
from service.dataplane import Dataplane
from service.deadline import Deadline
from service.engine.catalogue import Catalogue
from service.engine.manifest import Findings
from service.engine.model import Model
from service.engine.transform import BadInstance, Loaded, Raw
from service.errors import (
    DeadlineExceeded,
    InferenceFailed,
    MalformedRequest,
    Overloaded,
    SignatureMismatch,
    TransformFailed,
)
from service.knobs import Admission
from service.lane import Predicted
from service.tensors import Tensors
from tests import tiny
from tests.unit.gate import Gate
from tests.unit.loading import load
from tests.unit.loop import let_pass, turns
from tests.unit.serving import ANY, infer, serving

TOGETHER = Findings(together=True, batch_rows=8)


class Numbers:
    """A number becomes four, and they are added up. Raw bodies and the first batch wait at the gate."""

    Instance = Prediction = float
    media_types = ("text/plain",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.batches: list[list[float]] = []

    def read(self, body: bytes, media_type: str) -> float:
        self._gate.pass_through()
        return float(body)

    def before(self, instances: Sequence[float]) -> Tensors:
        self.batches.append(list(instances))
        if len(self.batches) == 1:
            self._gate.pass_through()
        if -1 in instances:
            raise BadInstance("no less than nothing", list(instances).index(-1))
        if -2 in instances:
            raise KeyError("internals")
        return {"x": np.array([[each] * 4 for each in instances], np.float32)}

    def after(self, outputs: Tensors) -> list[float]:
        return [float(each) for each in outputs["y"].sum(axis=1)]


class Heard:
    """What the lane reports."""

    def __init__(self) -> None:
        self.pendings: list[int] = []
        self.batches: list[int] = []

    def pending(self, model: str, change: int) -> None:
        self.pendings.append(change)

    def batch(self, model: str, version: int, rows: int, seconds: float) -> None:
        self.batches.append(rows)


Scenario = Callable[[Dataplane, Gate], Coroutine[Any, Any, None]]


def play(
    scenario: Scenario, model: Model, heard: Heard | None = None, bounds: Admission = ANY, max_rows: int = 8
) -> list[list[float]]:
    """Run it with a dataplane that serves the model with `Numbers`; returns what the transform was given."""

    async def run() -> list[list[float]]:
        gate = Gate()
        numbers = Numbers(gate)
        model.transform = Loaded(model.name, model.version, model.signature, numbers)
        dataplane = serving(Catalogue(1, [model]), heard or Heard(), max_rows, bounds)
        await scenario(dataplane, gate)
        dataplane.close()
        return numbers.batches

    return asyncio.run(run())


def ask(dataplane: Dataplane, *instances: float | Raw, **wishes: Any) -> asyncio.Task[Predicted]:
    async def predict() -> Predicted:
        with dataplane.enter("tiny") as lane:
            return await lane.predict(instances, **wishes)

    return asyncio.create_task(predict())


async def beside(dataplane: Dataplane, gate: Gate, *requests: Sequence[float]) -> list[Predicted | BaseException]:
    """The answers to requests that wait together, behind a first one."""
    first = ask(dataplane, 0)
    await gate.begun.wait()
    asked = [ask(dataplane, *each) for each in requests]
    await turns()
    gate.open()
    await first
    return await asyncio.gather(*asked, return_exceptions=True)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(tiny.double(), tmp_path, findings=TOGETHER)


def test_a_prediction_is_made_for_each_instance_and_has_its_times(model: Model) -> None:
    heard = Heard()

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        gate.open()
        done = await ask(dataplane, 1, 2)
        assert (done.predictions, done.rows) == ([8, 16], 2)
        assert min(done.queue, done.run) >= 0

    assert play(scenario, model, heard) == [[1, 2]]
    assert (heard.pendings, heard.batches) == ([1, -1], [2])


def test_instances_that_wait_together_are_one_batch(model: Model) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        answers = await beside(dataplane, gate, [1], [2, 3], [4])
        assert [each.predictions for each in answers if isinstance(each, Predicted)] == [[8], [16, 24], [32]]

    assert play(scenario, model) == [[0], [1, 2, 3, 4]]


def test_a_batch_has_no_more_instances_than_rows_that_pay(model: Model) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        await beside(dataplane, gate, [1], [2], [3])

    assert play(scenario, model, max_rows=2) == [[0], [1, 2], [3]]


def test_instances_and_tensors_do_not_share_a_run(model: Model) -> None:
    heard = Heard()

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        first = ask(dataplane, 0)
        await gate.begun.wait()
        tensors = {"x": np.ones((1, 4), np.float32)}
        asked = asyncio.gather(ask(dataplane, 1), infer(dataplane, "tiny", tensors, model.signature.outputs))
        await turns()
        gate.open()
        await first
        predicted, inferred = await asked
        assert (predicted.predictions, inferred.outputs[0].tolist()) == ([8], [[2] * 4])

    assert play(scenario, model, heard) == [[0], [1]]
    assert heard.batches == [1, 1, 1]


def test_a_bad_instance_hits_only_its_own_request_with_its_own_number(model: Model) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        good, bad, last = await beside(dataplane, gate, [1, 2], [3, -1], [4])
        assert isinstance(bad, MalformedRequest)
        assert str(bad) == "instances[1]: no less than nothing"
        assert [each.predictions for each in (good, last) if isinstance(each, Predicted)] == [[8, 16], [32]]

    assert play(scenario, model) == [[0], [1, 2, 3, -1, 4], [1, 2], [3, -1], [4]]


def test_a_transform_that_fails_for_one_does_not_harm_those_beside_it(model: Model) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        good, bad = await beside(dataplane, gate, [1], [-2])
        assert isinstance(bad, TransformFailed)
        assert ("internals" in str(bad), repr(bad.__cause__)) == (False, "KeyError('internals')")
        assert isinstance(good, Predicted)

    assert play(scenario, model) == [[0], [1, -2], [1], [-2]]


def test_nothing_is_predicted_of_nothing(model: Model) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        assert await ask(dataplane) == Predicted([], 0, 0.0, 0.0)

    assert play(scenario, model) == []


def test_too_many_instances_are_refused_before_anything_is_run(tmp_path: Path) -> None:
    limited = load(tiny.double(), tmp_path, findings=TOGETHER, limits={"max_rows": 2})

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        with pytest.raises(SignatureMismatch, match="takes at most 2 rows in one request, got 3"):
            await ask(dataplane, 1, 2, 3)

    assert play(scenario, limited) == []


def test_instances_are_admitted_as_rows_are(model: Model) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        _, refused = await beside(dataplane, gate, [1, 2], [3, 4])
        assert isinstance(refused, Overloaded)
        assert refused.reason == "rows"

    assert play(scenario, model, bounds=Admission(max_rows=3), max_rows=1) == [[0], [1, 2]]


def test_whoever_comes_to_a_transform_queues_however_small_the_model_is(tmp_path: Path) -> None:
    small = load(tiny.double(), tmp_path, findings=Findings(together=True, batch_rows=1, inline_rows=8))

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        first = ask(dataplane, 0)
        await gate.begun.wait()
        second = ask(dataplane, 1)
        await turns()
        with dataplane.enter("tiny") as lane, pytest.raises(Overloaded):
            lane.admit()
        gate.open()
        await asyncio.gather(first, second)

    assert play(scenario, small, bounds=Admission(max_waiting=1)) == [[0], [1]]


def test_a_raw_body_is_read_in_the_run(model: Model) -> None:
    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        late = ask(dataplane, Raw(b"2", "text/plain"), deadline=Deadline.after(60, monotonic()))
        await gate.begun.wait()
        let_pass(61)
        with pytest.raises(DeadlineExceeded, match="'run'"):
            await late
        gate.open()
        assert (await ask(dataplane, 1)).predictions == [8]

    assert play(scenario, model) == [[2], [1]]


def test_a_caller_that_leaves_or_is_late_while_it_waits_is_never_run(model: Model) -> None:
    heard = Heard()

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        caller = Caller()
        first = ask(dataplane, 0)
        await gate.begun.wait()
        leaving, late = ask(dataplane, 1, caller=caller), ask(dataplane, 2, deadline=Deadline.after(60, monotonic()))
        await turns()
        caller.leave()
        let_pass(61)
        with pytest.raises(ClientLeft):
            await leaving
        with pytest.raises(DeadlineExceeded, match="'queue'"):
            await late
        gate.open()
        await first

    assert play(scenario, model, heard) == [[0]]
    assert sum(heard.pendings) == 0


def test_a_run_whose_callers_have_all_left_is_not_begun_after_the_transform(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the transform does cannot be interrupted; the session is told before it starts."""
    failures: list[Exception] = []
    run = model.run

    def watched(*given: Any) -> Any:
        try:
            return run(*given)
        except InferenceFailed as failure:
            failures.append(failure)
            raise

    monkeypatch.setattr(model, "run", watched)

    async def scenario(dataplane: Dataplane, gate: Gate) -> None:
        caller = Caller()
        leaving = ask(dataplane, 0, caller=caller)
        await gate.begun.wait()
        caller.leave()
        with pytest.raises(ClientLeft):
            await leaving
        gate.open()
        assert (await ask(dataplane, 1)).predictions == [8]

    assert play(scenario, model) == [[0], [1]]
    assert len(failures) == 1
