"""The typed protocol's rows and predictions, each as a line by itself: what stands in `instances`, in `predictions`."""

from collections.abc import Sequence
from typing import Any

import orjson

from service.knobs import Limits
from service.protocol import large, size, v1
from service.protocol.document import parse_value
from service.protocol.nesting import nested
from service.tensors import Array, Signature


def decode(text: bytes, signature: Signature, limits: Limits) -> v1.Columns:
    """A row; of a model without a batch axis what `inputs` would be. Raises MalformedRequest, SignatureMismatch."""
    read = large.parse_row(text, limits)
    value = parse_value(text, limits, of_rows=True) if read is None else read
    document = {v1.ROWS: [value]} if signature.batch else {v1.COLUMNS: value}
    return v1.columns(document, text, signature, limits, is_large=read is not None)


def decode_all(texts: Sequence[bytes], signature: Signature, limits: Limits) -> v1.Columns:
    """Rows that all are alike, at a fraction of what it costs one by one. Raises what `decode` raises, for them all."""
    values = [parse_value(text, limits, of_rows=True) for text in texts]
    return v1.columns({v1.ROWS: values}, b"".join(texts), signature, limits)


def encode(outputs: Sequence[tuple[str, Array]], by_row: bool, limits: Limits) -> bytes:
    """A prediction, of outputs of one row; or else what `outputs` would be. Raises AnswerTooLarge."""
    size.require([(tensor, False) for _, tensor in outputs], limits.answer_bytes)
    told = {name: nested(tensor.reshape(tensor.shape[1:]) if by_row else tensor) for name, tensor in outputs}
    return encode_value(told if len(told) > 1 else next(iter(told.values())), limits)


def encode_value(value: Any, limits: Limits) -> bytes:
    """A prediction as a JSON value. Raises AnswerTooLarge."""
    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    size.check(len(text), limits.answer_bytes)
    return text
