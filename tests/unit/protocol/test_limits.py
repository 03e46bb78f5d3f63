"""The bounds of a request and of an answer: what just fits, and what does not."""

import json
from typing import Any

import numpy as np
import pytest

from service.errors import AnswerTooLarge, MalformedRequest, SignatureMismatch
from service.knobs import Limits
from service.protocol import large
from service.protocol.v2 import OutputTensor, decode, encode
from service.tensors import Array, Datatype, Signature, TensorSpec
from tests.oip import blob_tensor, length_prefixed, tensor

PADDING = b" " * large.LEAST_BYTES
WAYS = pytest.mark.parametrize("padding", [b"", PADDING], ids=["small", "large"])


def signature(*names: str, datatype: Datatype = Datatype.FP32) -> Signature:
    return Signature(tuple(TensorSpec(name, datatype, None) for name in names), ())


def refusal(content: bytes, json_length: int | None, model: Signature, **limits: int) -> str:
    with pytest.raises(MalformedRequest) as caught:
        decode(content, json_length, model, Limits(**limits))
    return str(caught.value)


def body(*inputs: dict[str, Any], **document: Any) -> bytes:
    return json.dumps({"inputs": inputs, **document}).encode()


def nested(depth: int) -> bytes:
    """A request of that depth in all; its data are two levels above it."""
    data = b"[" * (depth - 3) + b"1" + b"]" * (depth - 3)
    return b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":%s}]}' % data


@WAYS
@pytest.mark.parametrize("depth", [8, 60, 100, 500])
def test_a_body_is_as_deep_as_it_may_be(depth: int, padding: bytes) -> None:
    """The decoder is one of C's, and neither its own limit nor Python's stack is met."""
    model = signature("x")
    assert decode(nested(depth) + padding, None, model, Limits(json_depth=depth)).inputs["x"].tolist() == [1]
    expected = f"the body is nested deeper than {depth} levels"
    assert refusal(nested(depth + 1) + padding, None, model, json_depth=depth) == expected


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b"[{"])
def test_brackets_without_end_are_refused(opening: bytes) -> None:
    assert refusal(opening * 200_000, None, signature("x")) == "the body is nested deeper than 100 levels"


@WAYS
def test_tensors_are_counted(padding: bytes) -> None:
    model, two = signature("a", "b"), [tensor(name, "FP32", [1], [1]) for name in "ab"]
    assert list(decode(body(*two) + padding, None, model, Limits(tensors=2)).inputs) == ["a", "b"]
    assert refusal(body(*two) + padding, None, model, tensors=1) == "'inputs': expected at most 1 tensors, got 2"
    asked = body(*two, outputs=[{"name": name} for name in "xyz"]) + padding
    assert refusal(asked, None, model, tensors=2) == "'outputs': expected at most 2 tensors, got 3"


@WAYS
def test_elements_are_counted_in_the_shape(padding: bytes) -> None:
    model = signature("x")
    six = body(tensor("x", "FP32", [2, 3], [1] * 6)) + padding
    assert decode(six, None, model, Limits(elements=6)).inputs["x"].shape == (2, 3)
    assert refusal(six, None, model, elements=5) == "input 'x': 'shape': expected at most 5 elements, got [2,3]"


@pytest.mark.parametrize("shape", [[0, 2**62], [2**62, 2**62], [2**40, 0, 2]])
def test_a_huge_shape_is_refused_before_anything_is_made_of_it(shape: list[int]) -> None:
    """A dimension of 0 hides nothing: a model that sums over it answers with the others."""
    said = json.dumps(shape, separators=(",", ":"))
    expected = f"input 'x': 'shape': expected at most 67108864 elements, got {said}"
    for content in (body(tensor("x", "FP32", shape, [])), body(blob_tensor("x", "FP32", shape, 0))):
        assert refusal(content, len(content), signature("x")) == expected


def test_strings_are_counted_as_the_values_that_they_are() -> None:
    model, texts = signature("x", datatype=Datatype.BYTES), ["a"] * 2000
    blob = length_prefixed(*[b"a"] * 2000)
    head = body(blob_tensor("x", "BYTES", [2000], len(blob)))
    for content, json_length in ((body(tensor("x", "BYTES", [2000], texts)), None), (head + blob, len(head))):
        assert decode(content, json_length, model, Limits(values=2001)).inputs["x"].tolist() == texts
        expected = "input 'x': 'shape': expected at most 1999 elements, got [2000]"
        assert refusal(content, json_length, model, values=1999) == expected


def test_elements_are_counted_in_binary_and_raw_bodies() -> None:
    model, blob = signature("x"), bytes(24)
    head = body(blob_tensor("x", "FP32", [6], 24))
    assert decode(head + blob, len(head), model, Limits(elements=6)).inputs["x"].size == 6
    assert decode(blob, 0, model, Limits(elements=6)).inputs["x"].size == 6
    expected = "input 'x': 'shape': expected at most 5 elements, got [6]"
    assert refusal(head + blob, len(head), model, elements=5) == expected
    assert refusal(blob, 0, model, elements=5) == expected


@pytest.mark.parametrize("text", ["abcd", "äö", "\U0001f600"])
def test_a_string_is_measured_in_bytes(text: str) -> None:
    model = signature("x", datatype=Datatype.BYTES)
    blob = length_prefixed(b"a", text.encode())
    head = body(blob_tensor("x", "BYTES", [2], len(blob)))
    bodies = [
        (body(tensor("x", "BYTES", [2], ["a", text])), None, 1),
        (body(tensor("x", "BYTES", [2], ["a", text])) + PADDING, None, 1),
        (head + blob, len(head), 1),
        (text.encode(), 0, 0),
    ]
    for content, json_length, place in bodies:
        assert decode(content, json_length, model, Limits(string_bytes=4)).inputs["x"].flat[place] == text
        expected = f"input 'x': element {place}: expected at most 3 bytes, got 4"
        assert refusal(content, json_length, model, string_bytes=3) == expected


def test_an_id_is_short_enough_to_come_back() -> None:
    x = tensor("x", "FP32", [1], [1])
    assert decode(body(x, id="a" * 1024), None, signature("x"), Limits()).id == "a" * 1024
    assert refusal(body(x, id="a" * 1025), None, signature("x")) == "'id': expected at most 1024 characters, got 1025"


def test_long_names_are_not_repeated() -> None:
    x, name = tensor("x", "FP32", [1], [1]), "a" * 10_000
    short = f"'{'a' * 96}..."
    assert refusal(body(x | {"name": name}, x | {"name": name}), None, signature("x")) == (
        f"inputs[1]: name {short} stands in 'inputs' twice"
    )
    outputs = [{"name": name, "parameters": {"classification": True}}]
    assert refusal(body(x, outputs=outputs), None, signature("x")).startswith(f"output {short}: 'parameters.class")
    with pytest.raises(SignatureMismatch) as caught:
        decode(body(x | {"name": name}), None, signature("x"), Limits())
    assert str(caught.value) == f"inputs: expected 'x', got {short}: missing 'x', unknown {short}"


def answer(*tensors: Array, is_binary: bool, most: int = 1 << 40) -> bytes:
    outputs = [OutputTensor("y", Datatype(array.dtype), array, is_binary) for array in tensors]
    return encode("m", 1, "7", outputs, Limits(answer_bytes=most))[0]


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize(
    "array",
    [np.arange(5000), np.arange(2500) / 3, np.array(["\1äa"] * 5000, np.object_), np.zeros(5000, np.bool_)],
    ids=["integers", "floats", "strings", "bools"],
)
def test_an_answer_is_as_large_as_it_may_be(array: Array, is_binary: bool) -> None:
    whole = answer(array, array, is_binary=is_binary)
    assert answer(array, array, is_binary=is_binary, most=len(whole)) == whole
    for most in (len(whole) - 1, len(whole) // 2, 1024):
        with pytest.raises(AnswerTooLarge) as caught:
            answer(array, array, is_binary=is_binary, most=most)
        assert str(caught.value) == (
            f"the answer is larger than {most} bytes, the most that is sent; ask for fewer outputs or rows"
        )


def test_an_answer_that_is_refused_is_not_written() -> None:
    """A terabyte, were it there: a view that repeats one number."""
    huge = np.broadcast_to(np.float32(0.1), (2**38,))
    for is_binary in (True, False):
        with pytest.raises(AnswerTooLarge):
            answer(huge, is_binary=is_binary, most=1 << 20)
