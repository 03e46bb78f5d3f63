"""Whatever a caller sends is read, or refused as the caller's mistake; and in whichever way it is read, as the same."""

import gzip
import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from service import elements
from service.errors import CallerError, MalformedRequest
from service.knobs import Limits
from service.protocol import binary, v2
from service.protocol.large import LEAST_BYTES
from service.telemetry.trace import continue_trace, request_id
from service.tensors import DATATYPES, Array, Datatype, Signature, TensorSpec
from service.web import body, coding, inflate
from tests.fuzz.conftest import Rounds
from tests.fuzz.mutation import corpus, mutate
from tests.fuzz.test_app import LONGEST_SENTENCE

LIMITS = Limits(elements=100_000, tensors=16)
PADDING = b" " * LEAST_BYTES
CORPUS = corpus()
SIGNATURES = [
    Signature((TensorSpec("x", Datatype.FP32, (-1, 2)),), (TensorSpec("y", Datatype.FP32, (-1, 2)),)),
    Signature((TensorSpec("x", Datatype.BYTES, (-1,)),), ()),
    Signature((TensorSpec("x", Datatype.UINT8, None),), ()),
    Signature((TensorSpec("a", Datatype.INT32, (-1, 16)), TensorSpec("b", Datatype.INT32, (-1, 16))), ()),
]

NUMBERS = some.one_of(
    some.integers(-(2**65), 2**65),
    some.floats(allow_nan=False, allow_infinity=False),
    some.sampled_from([0, 1, -1, 127, 128, 255, 256, 65504, 65520, 2**53 + 1, 3.4028235e38, 3.5e38, 1e-50, -0.0]),
)
SCALARS = some.one_of(NUMBERS, some.booleans(), some.none(), some.text(max_size=5))
ANYTHING = some.recursive(
    SCALARS,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
SHAPES = some.lists(some.integers(0, 4), max_size=3)
NAMES = some.sampled_from(["x", "a", "b", "y", ""])
SIZES = some.sampled_from([0, 1, 4, 8, -1, 2**40, None])


def tensors() -> some.SearchStrategy[Any]:
    """Objects that are nearly tensors, the data sometimes of the size that the shape asks for."""
    fields = {"name": NAMES | ANYTHING, "datatype": some.sampled_from(list(DATATYPES)) | ANYTHING}
    optional = {
        "data": some.lists(NUMBERS, max_size=6) | some.lists(some.lists(NUMBERS, max_size=2), max_size=3) | ANYTHING,
        "parameters": some.fixed_dictionaries({}, optional={"binary_data_size": SIZES | ANYTHING}) | ANYTHING,
    }
    return some.fixed_dictionaries(fields | {"shape": SHAPES | ANYTHING}, optional=optional) | fitting()


@some.composite
def fitting(draw: some.DrawFn) -> Any:
    """A tensor of which nothing is wrong but, now and then, an element."""
    name = draw(some.sampled_from(list(DATATYPES)))
    shape = draw(SHAPES)
    size = int(np.prod(shape))
    kinds = {"BYTES": some.text(max_size=4), "BOOL": some.booleans() | some.integers(0, 1)}
    kind = kinds.get(name, some.integers(0, 200) | some.integers(-5, 5) | NUMBERS)
    data = draw(some.lists(kind | (SCALARS if draw(some.booleans()) else kind), min_size=size, max_size=size))
    return {"name": draw(NAMES), "datatype": name, "shape": shape, "data": data}


OPTIONS: dict[str, some.SearchStrategy[Any]] = {
    "binary_data_output": some.booleans() | ANYTHING,
    "timeout": some.integers(0, 2**64) | ANYTHING,
    "priority": some.integers(0, 100) | ANYTHING,
    "allow_fallback": some.booleans() | ANYTHING,
}
DOCUMENTS = some.fixed_dictionaries(
    {"inputs": some.lists(tensors(), max_size=3) | ANYTHING},
    optional={
        "id": some.text() | ANYTHING,
        "parameters": some.fixed_dictionaries({}, optional=OPTIONS) | ANYTHING,
        "outputs": some.lists(some.fixed_dictionaries({"name": NAMES}, optional={"parameters": ANYTHING})) | ANYTHING,
    },
)


def bits(array: Array) -> Any:
    return array.dtype, array.shape, array.tolist() if array.dtype.hasobject else array.tobytes()


def sentence(error: CallerError) -> str:
    """Whatever the caller sent, it is one that a person can read."""
    assert len(str(error)) < LONGEST_SENTENCE
    return str(error)


def outcome(content: bytes, json_length: int | None, signature: Signature) -> Any:
    """All that a request says, or the refusal; any exception that is no refusal fails the test."""
    try:
        request = v2.decode(content, json_length, signature, LIMITS)
    except CallerError as error:
        return type(error), sentence(error).partition(" is not valid JSON")[0]
    return {name: bits(array) for name, array in request.inputs.items()}, replace(request, inputs={})


def check(content: bytes, signatures: Sequence[Signature] = tuple(SIGNATURES)) -> None:
    """Every way to read it ends in a value or in a refusal, and a large body is read as a small one is."""
    for signature in signatures:
        for json_length in (None, 0, len(content) // 2, len(content), len(content) + 1):
            outcome(content, json_length, signature)
        wanted = outcome(content, None, signature)
        assert outcome(content + PADDING, None, signature) == wanted, content


@pytest.mark.parametrize("name", CORPUS)
def test_what_was_once_interesting_stays_harmless(name: str) -> None:
    check(CORPUS[name])


def test_bytes_that_are_nearly_requests_are_read_or_refused(rounds: Rounds) -> None:
    seeds = list(CORPUS.values())
    for chance in rounds("bodies", 1_500):
        check(mutate(chance, chance.choice(seeds), seeds), [chance.choice(SIGNATURES)])


@given(DOCUMENTS, some.sampled_from(SIGNATURES))
def test_documents_that_are_nearly_requests_are_read_or_refused(document: Any, signature: Signature) -> None:
    check(json.dumps(document).encode(), [signature])


@given(fitting())
def test_a_tensor_is_the_same_in_every_way_to_read_it(given_: Any) -> None:
    """Flat or nested as its shape, one of many digits or not, by orjson or by simdjson."""
    signature = Signature((TensorSpec(given_["name"], Datatype.FP32, None),), ())

    def read(data: Any) -> Any:
        return outcome(json.dumps({"inputs": [given_ | {"data": data}]}).encode(), None, signature)

    flat = read(given_["data"])
    check(json.dumps({"inputs": [given_]}).encode(), [signature])
    if given_["data"] and given_["shape"]:
        nested = np.array([*given_["data"], None], object)[:-1].reshape(given_["shape"]).tolist()
        assert read(nested) == flat


@given(some.sampled_from(list(DATATYPES)), SHAPES, some.data())
def test_what_is_written_is_read_again(name: str, shape: list[int], data: some.DataObject) -> None:
    datatype = DATATYPES[name]
    size = int(np.prod(shape))
    if datatype is Datatype.BYTES:
        array = np.array([*data.draw(some.lists(some.text(), min_size=size, max_size=size)), None], object)[:-1]
    else:
        blob = bytearray(data.draw(some.binary(min_size=size * datatype.size, max_size=size * datatype.size)))
        array = np.frombuffer(bytes(byte & 1 for byte in blob) if name == "BOOL" else bytes(blob), datatype.numpy)
    array = array.reshape(shape)
    assert bits(binary.decode("x", datatype, shape, memoryview(binary.encode(array)))) == bits(array)
    if datatype.is_float and not np.isfinite(array).all():
        return
    for is_binary in (True, False):
        answer, length = v2.encode("m", 1, "7", [v2.OutputTensor("x", datatype, array, is_binary)], LIMITS)
        document = json.loads(answer[:length])
        request = json.dumps({"inputs": document["outputs"]}).encode()
        blobs = answer[length:] if length else b""
        signature = Signature((TensorSpec("x", datatype, None),), ())
        got = v2.decode(request + blobs, len(request), signature, LIMITS).inputs["x"]
        assert bits(got) == bits(array)


@given(some.sampled_from(list(DATATYPES)), SHAPES, ANYTHING, some.booleans())
def test_elements_are_numbers_or_refused(name: str, shape: list[int], data: Any, booleans: bool) -> None:
    try:
        array = elements.decode("x", DATATYPES[name], shape, data, booleans or "true" in str(data).lower())
    except MalformedRequest:
        return
    assert (array.dtype, array.shape) == (DATATYPES[name].numpy, tuple(shape))


def test_compressed_bytes_are_inflated_or_refused(rounds: Rounds) -> None:
    """As Python's own modules inflate them, where both do."""
    seeds = [b"", b"abc", bytes(100_000), random.Random(7).randbytes(70_000)]
    packed = [
        (name, pack(seed)) for seed in seeds for name, pack in (("gzip", gzip.compress), ("deflate", zlib.compress))
    ]
    packed.append(("gzip", gzip.compress(b"a") + gzip.compress(b"b") + b"\0" * 9))
    whole = [data for _, data in packed]
    for chance in rounds("compressed bodies", 1_500):
        name, data = chance.choice(packed)
        data = mutate(chance, data, whole)
        try:
            inflated = b"".join(inflate.pieces(name, data))
        except MalformedRequest:
            continue
        assert inflated == (gzip.decompress if name == "gzip" else zlib.decompress)(data)


@given(
    some.text(some.characters(max_codepoint=255))
    | some.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-01(-[a-z]*)?", fullmatch=True)
)
def test_headers_are_read_or_passed_over(text: str) -> None:
    assert (request_id(text) == text) or len(request_id(text)) == 36
    trace = continue_trace(text)
    assert trace is None or continue_trace(trace.parent) is not None
    assert coding.choose(text.encode("latin-1"), 100, 50) in (None, "gzip", "deflate")
    for read in (body._codings, lambda value: body._check_media_type({b"content-type": value}, ())):
        try:
            read(text.encode("latin-1"))
        except CallerError as error:
            sentence(error)
