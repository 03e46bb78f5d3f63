"""What a group gives, as it waits to be sent, and how large it is; lanes and transforms are stood in for by hand."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.deadline import NEVER
from service.errors import AnswerTooLarge
from service.knobs import Limits
from service.lane import Inference, Predicted
from service.tensors import Array, Datatype, TensorSpec
from service.web.forms import Requests, Tensorial, Transformed
from service.web.scoring import Form, Item, Ran


class Lane:
    """Runs nothing: its model has given this already, a row for each item."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self.model: Any = SimpleNamespace(join=lambda requests: None, part=lambda outputs, *rest: [outputs])

    async def infer(self, *asked: Any) -> Inference:
        return Inference(self._given, 1, 0.25, 0.5)

    async def predict(self, *asked: Any) -> Predicted:
        return Predicted(self._given, len(self._given), 0.25, 0.5)


class Plain:
    """A transform whose predictions are JSON values already."""

    def document(self, predictions: Sequence[Any]) -> list[Any]:
        return list(predictions)


def ran(form: Form, *items: Item) -> Ran:
    return asyncio.run(form.run(items, NEVER))


def given(*outputs: Array) -> Ran:
    """What comes of a request whose answer has these tensors."""
    lane: Any = Lane(list(outputs))
    specs = tuple(TensorSpec("y", Datatype(output.dtype), None) for output in outputs)
    return ran(Requests(lane, Limits(), "mine"), Item(Tensorial({}, specs), 1, None))


@pytest.mark.parametrize("count", [2, 100_000])
def test_strings_weigh_as_much_as_their_text_and_more(count: int) -> None:
    strings = np.array([["abc"] * count], np.object_)
    assert given(strings).size == count * (64 + 3)


def test_numbers_weigh_as_much_as_they_take() -> None:
    assert given(np.zeros((2, 3), np.float32), np.zeros((1, 100_000), np.int64)).size == 24 + 800_000


def predicted(*predictions: Any, limits: Limits | None = None) -> tuple[Ran, list[bytes]]:
    """What comes of an instance for each, and what is written of it."""
    lane: Any = Lane(predictions)
    transform: Any = Plain()
    form = Transformed(lane, limits or Limits(), transform)
    items = [Item(None, 1, None)] * len(predictions)
    done = ran(form, *items)
    texts = []
    for item, result in zip(items, done.results, strict=True):
        try:
            texts.append(form.write(item, result))
        except AnswerTooLarge:
            texts.append(b"too large")
    return done, texts


def test_predictions_wait_as_text_and_weigh_as_much() -> None:
    done, texts = predicted({"label": "cat"}, [1.5, 2])
    assert texts == [b'{"label":"cat"}', b"[1.5,2]"]
    assert (done.size, done.queue, done.run) == (len(b"".join(texts)), 0.25, 0.5)


def test_a_prediction_that_is_too_large_fails_alone_and_is_not_kept() -> None:
    """It weighs what it had been at least, or else many like it would be made together."""
    done, texts = predicted("a", "b" * 2000, "c", limits=Limits(answer_bytes=1024))
    assert (texts, done.size) == ([b'"a"', b"too large", b'"c"'], 6 + 1024)
