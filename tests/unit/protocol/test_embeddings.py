"""OpenAI's embeddings: what is read, what is refused in which words, and what is written."""

import json
import struct
from base64 import b64decode
from typing import Any

import numpy as np
import pytest

from service.elements import CHUNK
from service.errors import AnswerTooLarge, MalformedRequest
from service.knobs import Limits
from service.protocol.embeddings import Embeddings, EmbeddingsRequest, decode, encode

LIMITS = Limits()
VECTORS = [[0.1, -2.0, 3e-30], [1.0, 0.0, 0.25]]


def read(**document: Any) -> EmbeddingsRequest:
    return decode(json.dumps({"model": "minilm", "input": "a text"} | document).encode(), LIMITS)


def written(is_base64: bool = False, limits: Limits = LIMITS) -> Any:
    return json.loads(encode("minilm", Embeddings.of(VECTORS), is_base64, limits))


def test_one_text_stands_for_itself() -> None:
    assert read() == EmbeddingsRequest("minilm", ["a text"])


def test_texts_keep_their_order() -> None:
    assert read(input=["b", "", "a"]).texts == ["b", "", "a"]


@pytest.mark.parametrize(("said", "is_base64"), [("float", False), ("base64", True), (None, False)])
def test_the_caller_chooses_how_vectors_are_written(said: str | None, is_base64: bool) -> None:
    assert read(encoding_format=said) == EmbeddingsRequest("minilm", ["a text"], is_base64)


def test_members_that_change_nothing_are_passed_over() -> None:
    assert read(user="me", dimensions=None, something=[1]) == EmbeddingsRequest("minilm", ["a text"])


def test_dimensions_are_read() -> None:
    assert read(dimensions=3).dimensions == 3


def test_what_a_request_keeps_in_memory_is_its_texts() -> None:
    assert 2_000 <= read(input=["a" * 1_000, "b" * 1_000]).weight <= 2_200


TOKENS = "tokens are not read here, because the model has a tokenizer of its own: send the texts themselves"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": None}, "'model': expected the name of a model, got nothing"),
        ({"model": 7}, "'model': expected the name of a model, got 7"),
        ({"input": None}, "'input': expected a text or an array of texts, got nothing"),
        ({"input": []}, "'input': expected a text or an array of texts, got []"),
        ({"input": {"text": "a"}}, """'input': expected a text or an array of texts, got {"text":"a"}"""),
        ({"input": [101, 102]}, f"'input[0]': expected a text, got 101; {TOKENS}"),
        ({"input": ["a", [101, 102]]}, f"'input[1]': expected a text, got [101,102]; {TOKENS}"),
        ({"input": ["a", None]}, "'input[1]': expected a text, got nothing"),
        ({"input": ["a", True]}, "'input[1]': expected a text, got true"),
        ({"encoding_format": "int8"}, """'encoding_format': expected "float" or "base64", got "int8\""""),
        ({"encoding_format": ["float"]}, """'encoding_format': expected "float" or "base64", got ["float"]"""),
        (
            {"dimensions": "3"},
            """'dimensions': expected an integer from 0 up (as many as the model's vectors have), got "3\"""",
        ),
    ],
)
def test_a_request_that_cannot_be_understood_is_told_why(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        read(**changes)
    assert str(caught.value) == sentence


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="the body: expected a JSON object"):
        decode(b'["a text"]', LIMITS)


def test_predictions_are_vectors_or_objects_that_hold_one() -> None:
    plain = Embeddings.of(VECTORS)
    assert [vector.tolist() for vector in plain.vectors] == np.array(VECTORS, np.float32).tolist()
    assert plain.tokens == 0
    objects = Embeddings.of([{"embedding": VECTORS[0], "tokens": 4}, {"embedding": VECTORS[1], "tokens": 3}])
    assert [vector.tolist() for vector in objects.vectors] == [vector.tolist() for vector in plain.vectors]
    assert objects.tokens == 7


@pytest.mark.parametrize(
    "predictions", [[1.0], ["a"], [{"vector": [1.0]}], [[1.0], [1.0, 2.0]], [[[1.0]]], [{"embedding": None}]]
)
def test_other_predictions_are_none(predictions: list[Any]) -> None:
    with pytest.raises((TypeError, KeyError, ValueError)):
        Embeddings.of(predictions)


def test_vectors_are_not_cut() -> None:
    embeddings = Embeddings.of(VECTORS)
    embeddings.require(0)
    embeddings.require(3)
    with pytest.raises(MalformedRequest) as caught:
        embeddings.require(2)
    assert str(caught.value) == "'dimensions': expected 3, as many as the model's vectors have, got 2"


def test_an_answer_lists_the_vectors_in_order() -> None:
    assert written() == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": VECTORS[0]},
            {"object": "embedding", "index": 1, "embedding": VECTORS[1]},
        ],
        "model": "minilm",
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


@pytest.mark.parametrize("length", [1, 3, CHUNK, 2 * CHUNK])
def test_a_long_answer_is_the_same_as_a_short_one(length: int) -> None:
    """It is written in pieces."""
    vectors = [[float(number)] * length for number in range(2 * CHUNK // length + 2)]
    answer = json.loads(encode("minilm", Embeddings.of(vectors), False, LIMITS))
    assert answer["data"] == [
        {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)
    ]


def test_usage_counts_the_tokens_of_all_texts() -> None:
    embeddings = Embeddings.of([{"embedding": [1.0], "tokens": 4}, {"embedding": [2.0], "tokens": 3}])
    assert json.loads(encode("minilm", embeddings, False, LIMITS))["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_base64_holds_little_endian_floats_of_four_bytes() -> None:
    packed = [b64decode(one["embedding"]) for one in written(is_base64=True)["data"]]
    assert packed == [struct.pack("<3f", *vector) for vector in VECTORS]


@pytest.mark.parametrize("is_base64", [False, True])
def test_an_answer_has_its_bound(is_base64: bool) -> None:
    with pytest.raises(AnswerTooLarge):
        written(is_base64, LIMITS.model_copy(update={"answer_bytes": 64}))
