"""The typed endpoint's answers: tensors become rows and columns."""

import json
from math import inf, nan
from typing import Any

import numpy as np
import orjson
import pytest

from service.elements import CHUNK
from service.errors import AnswerTooLarge
from service.knobs import Limits
from service.protocol import predictions

LIMITS = Limits()
LABELS = np.array([3, 5], np.longlong)
SCORES = np.array([[0.1, nan], [inf, 1]], np.float32)
NAMES = np.array(["a", "ü"], np.object_)


@pytest.mark.parametrize(
    ("outputs", "by_row", "answer"),
    [
        ([("s", SCORES)], True, '{"predictions":[[0.1,null],[null,1.0]]}'),
        ([("s", SCORES)], False, '{"outputs":[[0.1,null],[null,1.0]]}'),
        ([("n", NAMES)], True, '{"predictions":["a","ü"]}'),
        (
            [("l", LABELS), ("s", SCORES), ("n", NAMES)],
            True,
            '{"predictions":[{"l":3,"s":[0.1,null],"n":"a"},{"l":5,"s":[null,1.0],"n":"ü"}]}',
        ),
        ([("l", LABELS), ("n", NAMES)], False, '{"outputs":{"l":[3,5],"n":["a","ü"]}}'),
        ([("f", SCORES[:, 0]), ("h", np.array([0.1, 2], np.float16))], True, None),
        ([("x", np.array(0.1, np.float32))], False, '{"outputs":0.1}'),
        ([("x", np.array("a", np.object_))], False, '{"outputs":"a"}'),
        ([("x", np.array(True)), ("y", np.array(7, np.longlong))], False, '{"outputs":{"x":true,"y":7}}'),
        ([("s", SCORES[:0])], True, '{"predictions":[]}'),
        ([("l", LABELS[:0]), ("s", SCORES[:0])], True, '{"predictions":[]}'),
        ([("s", SCORES.T)], False, '{"outputs":[[0.1,null],[null,1.0]]}'),
    ],
)
def test_tensors_become_rows_or_columns(outputs: Any, by_row: bool, answer: str | None) -> None:
    answer = answer or '{"predictions":[{"f":0.1,"h":0.099975586},{"f":null,"h":2.0}]}'
    assert predictions.encode(outputs, by_row, LIMITS).decode() == answer


def test_an_answer_may_say_more() -> None:
    answer = predictions.encode([("l", LABELS)], True, LIMITS, {"fallback_for": "large"})
    assert answer == b'{"predictions":[3,5],"parameters":{"fallback_for":"large"}}'


@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("shape", [(CHUNK + 1,), (CHUNK // 2, 3), (2, CHUNK + 1), (3, 2, CHUNK), (CHUNK + 1, 1)])
def test_a_long_answer_is_the_same_as_a_short_one(shape: tuple[int, ...], by_row: bool) -> None:
    """It is written in pieces."""
    tensor = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    one = json.loads(predictions.encode([("x", tensor)], by_row, LIMITS))
    assert one == {"predictions" if by_row else "outputs": tensor.tolist()}
    both = json.loads(predictions.encode([("x", tensor), ("y", tensor)], by_row, LIMITS))
    if by_row:
        assert both["predictions"] == [{"x": row, "y": row} for row in tensor.tolist()]
    else:
        assert both["outputs"] == {"x": tensor.tolist(), "y": tensor.tolist()}


@pytest.mark.parametrize("by_row", [True, False])
def test_an_answer_is_no_larger_than_allowed(by_row: bool) -> None:
    outputs = [("x", np.zeros(1000)), ("a_long_name", np.zeros(1000))]
    size = len(predictions.encode(outputs, by_row, LIMITS))
    assert len(predictions.encode(outputs, by_row, Limits(answer_bytes=size))) == size
    with pytest.raises(AnswerTooLarge):
        predictions.encode(outputs, by_row, Limits(answer_bytes=size - 1))


def test_predictions_of_a_transform_are_written_as_they_are() -> None:
    assert predictions.encode_all([{"a": nan}, "ü"], LIMITS).decode() == '{"predictions":[{"a":null},"ü"]}'
    with pytest.raises(AnswerTooLarge):
        predictions.encode_all(["a" * 2000], Limits(answer_bytes=1024))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long each text is that the codec makes; nobody else has a turn meanwhile."""
    lengths: list[int] = []
    dumps = orjson.dumps

    def noting(value: Any, **options: Any) -> bytes:
        text = dumps(value, **options)
        lengths.append(len(text))
        return text

    monkeypatch.setattr(orjson, "dumps", noting)
    return lengths


@pytest.mark.parametrize(
    ("each", "count", "pieces"),
    [("a" * 100, 0, 0), ("a" * 100, 1, 0), ("a" * 100, 2, 2), ("a" * 100, 10_000, 41), ("a" * 100_000, 20, 11)],
    ids=["none", "one", "two", "short ones", "long ones"],
)
def test_predictions_are_written_in_pieces(each: str, count: int, pieces: int, written: list[int]) -> None:
    """Some of them together, or else many short ones would take long."""
    answer = predictions.encode_all([each] * count, LIMITS)
    assert json.loads(answer) == {"predictions": [each] * count}
    *some, last = written
    assert (len(some), last) == (pieces, len(answer))
    assert max(some, default=0) <= 256 << 10


@pytest.mark.parametrize("by_row", [True, False])
def test_many_strings_are_written_in_pieces(by_row: bool, written: list[int]) -> None:
    """As many numbers are."""
    texts = np.full(CHUNK * 2, "a", np.object_)
    answer = predictions.encode([("x", texts)], by_row, LIMITS)
    assert json.loads(answer) == {"predictions" if by_row else "outputs": ["a"] * CHUNK * 2}
    assert written == [CHUNK * 4 + 1, CHUNK * 4 + 1, len(answer)]
