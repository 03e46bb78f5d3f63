"""The typed endpoint's answer: predictions by row, or outputs by column, as `v1` has them asked for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from service.knobs import Limits
from service.protocol import nesting, size
from service.tensors import Array

_NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY
# Bytes that are written in less than a millisecond, and predictions that hardly are more than that.
_PIECE: Final = 256 << 10
_MOST_TOGETHER: Final = 256


def encode(
    outputs: Sequence[tuple[str, Array]], by_row: bool, limits: Limits, parameters: Mapping[str, Any] | None = None
) -> bytes:
    """The answer's body. Raises AnswerTooLarge."""
    rows = len(outputs[0][1]) if by_row and outputs else 0
    around = rows * sum(len(name) + 4 for name, _ in outputs) if len(outputs) > 1 else 0
    size.require([(tensor, False) for _, tensor in outputs], limits.answer_bytes - around)
    if len(outputs) == 1:
        told = nesting.nested(outputs[0][1])
    elif by_row:
        told = nesting.rows([name for name, _ in outputs], [tensor for _, tensor in outputs])
    else:
        told = {name: nesting.nested(tensor) for name, tensor in outputs}
    document: dict[str, Any] = {"predictions" if by_row else "outputs": told}
    if parameters:
        document["parameters"] = parameters
    return _written(document, limits)


def encode_all(predictions: list[Any], limits: Limits) -> bytes:
    """The answer's body, of a transform's predictions as JSON values. Raises AnswerTooLarge."""
    told = list(_pieces(predictions)) if len(predictions) > 1 else predictions
    return _written({"predictions": told}, limits)


def _pieces(predictions: list[Any]) -> Iterator[orjson.Fragment]:
    """So many together as make a piece, by the length of those before them: the codec keeps all other threads waiting.

    One by one they would take many times as long where they are short.
    """
    start, together = 0, 1
    while start < len(predictions):
        some = predictions[start : start + together]
        text = orjson.dumps(some, option=_NUMPY)[1:-1]
        yield orjson.Fragment(text)
        start += together
        together = min(_MOST_TOGETHER, max(1, _PIECE * len(some) // len(text)))


def _written(document: dict[str, Any], limits: Limits) -> bytes:
    answer = orjson.dumps(document, option=_NUMPY)
    size.check(len(answer), limits.answer_bytes)
    return answer
