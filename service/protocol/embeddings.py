"""OpenAI's embeddings: texts in, one vector for each, as `client.embeddings.create` sends and reads them.

Source: the API reference of `POST /v1/embeddings`. Members that change nothing here, such as `user`, are passed over.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import Any, Final

import numpy as np
import orjson

from service import elements
from service.errors import MalformedRequest
from service.knobs import Limits
from service.protocol import size, values
from service.protocol.document import parse, said
from service.tensors import Array

_FORMATS: Final = ("float", "base64")
_NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY
_LITTLE_ENDIAN: Final = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """What a caller asks for. `dimensions` is how long each vector shall be, 0 where that is not said."""

    model: str
    texts: list[str]
    is_base64: bool = False
    dimensions: int = 0

    @property
    def weight(self) -> int:
        """Bytes of memory that it takes."""
        return sum(map(getsizeof, self.texts))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A float32 vector for each text, all of one length, and how many tokens all texts had."""

    vectors: list[Array]
    tokens: int

    @classmethod
    def of(cls, predictions: Sequence[Any]) -> "Embeddings":
        """Each prediction is a list of numbers, or an object with such an `embedding` and, if it likes, its `tokens`.

        Raises TypeError, KeyError or ValueError where one is not.
        """
        objects = [one if isinstance(one, dict) else {"embedding": one} for one in predictions]
        vectors = [np.array(one["embedding"], np.float32) for one in objects]
        if any(vector.ndim != 1 or len(vector) != len(vectors[0]) for vector in vectors):
            raise ValueError(f"expected vectors of one length, got {sorted({vector.shape for vector in vectors})}")
        return cls(vectors, sum(int(one.get("tokens") or 0) for one in objects))

    def require(self, dimensions: int) -> None:
        """That many, if any are asked for: a vector is not cut. Raises MalformedRequest."""
        own = len(self.vectors[0])
        if dimensions not in (0, own):
            raise MalformedRequest(
                f"'dimensions': expected {own}, as many as the model's vectors have, got {dimensions}"
            )


def decode(body: bytes, limits: Limits) -> EmbeddingsRequest:
    """Raises MalformedRequest."""
    document = parse(body, limits, of_rows=True)
    model = document.get("model")
    if type(model) is not str:
        raise MalformedRequest(f"'model': expected the name of a model, got {said(model)}")
    chosen = document.get("encoding_format") or "float"
    if chosen not in _FORMATS:
        raise MalformedRequest(f'\'encoding_format\': expected "float" or "base64", got {said(chosen)}')
    dimensions = values.count("'dimensions'", document.get("dimensions"), "as many as the model's vectors have")
    return EmbeddingsRequest(model, _texts(document.get("input")), chosen == "base64", dimensions)


def encode(model: str, embeddings: Embeddings, is_base64: bool, limits: Limits) -> bytes:
    """Raises AnswerTooLarge."""
    vectors = embeddings.vectors
    size.require([(vector, is_base64) for vector in vectors], limits.answer_bytes)
    answer = orjson.dumps(
        {
            "object": "list",
            "data": list(_data(vectors, is_base64)),
            "model": model,
            "usage": {"prompt_tokens": embeddings.tokens, "total_tokens": embeddings.tokens},
        },
        option=_NUMPY,
    )
    size.check(len(answer), limits.answer_bytes)
    return answer


def _texts(given: Any) -> list[str]:
    """One text may stand for itself."""
    if type(given) is str:
        return [given]
    if type(given) is not list or not given:
        raise MalformedRequest(f"'input': expected a text or an array of texts, got {said(given)}")
    for index, text in enumerate(given):
        if type(text) is int or type(text) is list:
            raise MalformedRequest(
                f"'input[{index}]': expected a text, got {said(text)}; tokens are not read here, "
                "because the model has a tokenizer of its own: send the texts themselves"
            )
        if type(text) is not str:
            raise MalformedRequest(f"'input[{index}]': expected a text, got {said(text)}")
    return given


def _data(vectors: Sequence[Array], is_base64: bool) -> Iterator[orjson.Fragment]:
    """So many together as have a chunk's numbers: the codec keeps all other threads waiting."""
    together = max(1, elements.CHUNK // max(1, len(vectors[0])))
    for start in range(0, len(vectors), together):
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if is_base64 else vector}
            for index, vector in enumerate(vectors[start : start + together], start)
        ]
        yield orjson.Fragment(orjson.dumps(data, option=_NUMPY)[1:-1])


def _base64(vector: Array) -> str:
    return b64encode(vector.astype(_LITTLE_ENDIAN, copy=False).tobytes()).decode()
