"""A large request is read in another way than a small one, and that is all: nobody can tell by what comes of it."""

import json
import random
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import orjson
import pytest

from service import elements
from service.errors import MalformedRequest, SignatureMismatch
from service.knobs import Limits
from service.protocol import document, large, v2
from service.protocol.large import LEAST_BYTES, Numbers
from service.tensors import DATATYPES, Array, Datatype, Signature, TensorSpec

LIMITS = Limits()
PADDING = b" " * LEAST_BYTES
FLOATS = [Datatype.FP16, Datatype.FP32, Datatype.FP64]
INTEGERS = [datatype for datatype in Datatype if datatype.is_integer]


def body(data: Any, datatype: str = "FP32", shape: Sequence[int] = (2,)) -> str:
    """A request of one tensor; `data` may be text that is JSON already."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{list(shape)},"data":{text}}}]}}'


def signature(*names: str) -> Signature:
    """A model of these inputs; nothing but their names is looked at when a request is read."""
    return Signature(tuple(TensorSpec(name, Datatype.FP32, None) for name in names), ())


def outcome(text: bytes, names: Sequence[str]) -> Any:
    """All that a request says, or why it is refused. Nothing that only looks equal is."""
    try:
        request = v2.decode(text, None, signature(*names), LIMITS)
    except (MalformedRequest, SignatureMismatch) as error:
        return str(error)
    inputs = {name: (array.dtype, array.shape, bits(array)) for name, array in request.inputs.items()}
    return inputs, request.outputs, request.id, request.binary


def bits(array: Array) -> Any:
    return array.tolist() if array.dtype.hasobject else array.tobytes()


def both(text: str | bytes, *, names: Sequence[str] = "x") -> Any:
    """What comes of it, large and small alike."""
    small = text if isinstance(text, bytes) else text.encode()
    assert len(small) < LEAST_BYTES
    wanted = outcome(small, names)
    assert outcome(small + PADDING, names) == wanted
    return wanted


def is_fast(text: str, datatype: Datatype) -> bool:
    """Does the first tensor get from text to array without becoming Python objects?"""
    read = large.parse(text.encode() + PADDING, LIMITS)
    if read is None:
        return False
    numbers = read["inputs"][0]["data"]
    return isinstance(numbers, Numbers) and numbers._buffered(datatype) is not None


def refused(text: str) -> str:
    reason = both(text)
    assert isinstance(reason, str)
    return reason


def floats(count: int) -> list[str]:
    """Numbers in every way in which JSON may have them."""
    source = random.Random(7)
    forms = (
        lambda: repr(source.uniform(-1e3, 1e3)),
        lambda: f"{source.uniform(-1, 1):.30f}",
        lambda: f"{source.randint(-999, 999)}E{source.randint(-7, 1)}",
        lambda: f"{source.random():.3e}",
        lambda: str(source.randint(-65504, 65504)),
        lambda: "-0.0",
        lambda: "-0",
        lambda: "5e-324",
    )
    return [source.choice(forms)() for _ in range(count)]


@pytest.mark.parametrize("datatype", FLOATS, ids=str)
def test_every_float_is_the_same_to_the_last_bit(datatype: Datatype) -> None:
    texts = floats(5000)
    text = body(f"[{','.join(texts)}]", datatype.name, (50, 100))
    assert len(text) >= LEAST_BYTES
    assert is_fast(text, datatype)
    got = v2.decode(text.encode(), None, signature("x"), LIMITS).inputs["x"]
    wanted = elements.decode("input 'x'", datatype, (50, 100), orjson.loads(f"[{','.join(texts)}]"))
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("datatype", INTEGERS, ids=str)
def test_integers_reach_as_far_as_their_datatype(datatype: Datatype) -> None:
    limits = np.iinfo(datatype.numpy)
    least, most = int(limits.min), int(limits.max)
    text = body([least, most], datatype.name)
    assert is_fast(text, datatype)
    inputs, *_ = both(text)
    assert inputs == {"x": (datatype.numpy, (2,), np.array([least, most], datatype.numpy).tobytes())}
    for data in ([least - 1, 0], [0, most + 1], [10**30, 0]):
        assert f"in the range of {datatype.name}" in refused(body(data, datatype.name))


@pytest.mark.parametrize(
    ("datatype", "most", "beyond"),
    [("FP16", "65519", "65520"), ("FP32", "3.4028235e38", "3.5e38"), ("FP64", "1.7976931348623157e308", "1e400")],
)
def test_floats_reach_as_far_as_their_datatype(datatype: str, most: str, beyond: str) -> None:
    assert is_fast(body(f"[{most},-{most}]", datatype), DATATYPES[datatype])
    inputs, *_ = both(body(f"[{most},-{most}]", datatype))
    assert inputs
    for data in (f"[{beyond},0]", f"[0,-{beyond}]"):
        assert refused(body(data, datatype))


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", "[1,2]"),
        ("FP32", "[1.5,2]"),
        ("FP64", "[18446744073709551615,-9223372036854775808]"),
        ("FP64", "[9007199254740993,9007199254740992]"),
        ("UINT64", "[18446744073709551615,9223372036854775808]"),
        ("INT64", "[-9223372036854775808,9223372036854775807]"),
        ("UINT8", "[0,255]"),
    ],
)
def test_numbers_are_read_fast(datatype: str, data: str) -> None:
    assert is_fast(body(data, datatype), DATATYPES[datatype])
    assert not isinstance(both(body(data, datatype)), str)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", "[true,false]"),
        ("BOOL", "[1,0]"),
        ("BYTES", '["zw\\u00f6lf","\\ud83d\\ude00"]'),
        ("BYTES", '["",""]'),
        ("FP64", "[18446744073709551616,1]"),
        ("FP64", "[-9223372036854775809,1]"),
        ("FP32", "[99999999999999999999999999,1]"),
    ],
)
def test_what_is_no_number_is_read_as_ever(datatype: str, data: str) -> None:
    assert not is_fast(body(data, datatype), DATATYPES[datatype])
    assert not isinstance(both(body(data, datatype)), str)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ((0,), "[]"),
        ((2, 0), "[[],[]]"),
        ((2, 0), "[]"),
        ((2, 2), "[[1,2],[3,4]]"),
        ((2, 2), "[1,2,3,4]"),
        ((4,), "[[1,2],[3,4]]"),
        ((2, 1, 2), "[[[1,2]],[[3,4]]]"),
        ((1, 1, 1), "[[[1]]]"),
        ((1,), "[[[1]]]"),
        ((), "[1]"),
    ],
)
def test_nesting_is_as_good_as_none(shape: Sequence[int], data: str) -> None:
    assert is_fast(body(data, "INT32", shape), Datatype.INT32)
    inputs, *_ = both(body(data, "INT32", shape))
    assert inputs["x"][:2] == (np.dtype(np.int32), tuple(shape))


WANTED = "expected an integer in the range of INT32"


@pytest.mark.parametrize(
    ("shape", "data", "reason"),
    [
        ((3,), "[[1,2],[3]]", "input 'x': 'data' is ragged: arrays side by side must have the same length"),
        ((3,), "[[1,2],3]", "input 'x': 'data' is ragged: arrays side by side must have the same length"),
        ((3,), "[[[1],[2]],[[3]]]", "input 'x': 'data' is ragged: arrays side by side must have the same length"),
        ((3,), "[[[1,2]],[3]]", "input 'x': 'data' is ragged: arrays side by side must have the same length"),
        ((1,), "[[],1]", "input 'x': 'data' is ragged: arrays side by side must have the same length"),
        ((1,), "[[],[1]]", "input 'x': 'data' is ragged: arrays side by side must have the same length"),
        ((2,), "[1,[2]]", f"input 'x': element 1 of 'data': {WANTED}, got an array"),
        ((3,), "[1,[2,3]]", "input 'x': INT32[3] has 3 elements, 'data' has 2"),
        ((4,), "[[1,2],[3,[4]]]", f"input 'x': element 3 of 'data': {WANTED}, got an array"),
        ((1,), "[1,[]]", "input 'x': INT32[1] has 1 elements, 'data' has 2"),
        ((3,), "[1,2]", "input 'x': INT32[3] has 3 elements, 'data' has 2"),
        ((1,), "[[1,2]]", "input 'x': INT32[1] has 1 elements, 'data' has 2"),
        ((1,), "[]", "input 'x': INT32[1] has 1 elements, 'data' has 0"),
        ((1,), "{}", "input 'x': expected an array of elements in 'data', got an object"),
        ((1,), "1", "input 'x': expected an array of elements in 'data', got a number"),
        ((1,), '"1"', "input 'x': expected an array of elements in 'data', got a string"),
        ((1,), "null", "input 'x': expected 'data' or 'parameters.binary_data_size', got neither"),
    ],
)
def test_what_has_another_form_is_refused_for_the_same_reason(shape: Sequence[int], data: str, reason: str) -> None:
    assert refused(body(data, "INT32", shape)) == reason


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        *(("INT32", element) for element in ("1.0", "1e0", "true", "null", '"1"', "{}", "2147483648", "-0.0")),
        *(("UINT32", element) for element in ("-1", "1.5", "false", "4294967296")),
        *(("FP32", element) for element in ("true", "false", "null", '"1"', "{}", "1e39")),
        *(("BOOL", element) for element in ("2", "-1", "1.0", '"true"', "null")),
        *(("BYTES", element) for element in ("1", "true", "null", "{}")),
    ],
)
def test_what_is_no_element_is_refused_for_the_same_reason(datatype: str, data: str) -> None:
    good = {"BOOL": "true", "BYTES": '"good"'}.get(datatype, "1")
    for text in (f"[{data},{good}]", f"[{good},{data}]", f"[[{good}],[{data}]]"):
        assert refused(body(text, datatype)).startswith("input 'x': element ")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"inputs":1}', id="inputs that are no array"),
        pytest.param('{"inputs":{"name":"x"}}', id="inputs that are an object"),
        pytest.param('{"inputs":null}', id="inputs that are nothing"),
        pytest.param('{"inputs":[1]}', id="an input that is a number"),
        pytest.param('{"inputs":[[1]]}', id="an input that is an array"),
        pytest.param('{"inputs":[{}]}', id="an input without anything"),
        pytest.param('{"inputs":[{"name":7}]}', id="a name that is a number"),
        pytest.param('{"inputs":[{"name":["x"],"data":[1]}]}', id="a name that is an array"),
        pytest.param('{"inputs":[{"name":"x","datatype":"FP32","data":[1]}]}', id="no shape"),
        pytest.param('{"inputs":[{"name":"x","datatype":"FP31","shape":[1],"data":[1]}]}', id="another datatype"),
        pytest.param('{"inputs":[{"name":"x","datatype":"FP32","shape":[1.0],"data":[1]}]}', id="a shape of floats"),
        pytest.param('{"inputs":[{"name":"x","datatype":"FP32","shape":{},"data":[1]}]}', id="a shape that is none"),
        pytest.param(
            '{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1],"parameters":{"binary_data_size":4}}]}',
            id="data in two places",
        ),
        pytest.param("[1]", id="no object"),
        pytest.param("7", id="a number"),
        pytest.param("{}", id="an empty object"),
        pytest.param('{"outputs":[]}', id="no inputs"),
        pytest.param('{"inputs":[],"outputs":7}', id="outputs that are no array"),
        pytest.param('{"inputs":[],"outputs":[{"name":"y"},{"name":"y"}]}', id="an output twice"),
        pytest.param('{"inputs":[],"id":7}', id="an id that is a number"),
        pytest.param('{"inputs":[],"parameters":[]}', id="parameters that are none"),
        pytest.param('{"inputs":[],"parameters":{"binary_data_output":1}}', id="a parameter of another type"),
        pytest.param('{"inputs":[}', id="no JSON"),
        pytest.param('{"inputs":[]}}', id="a bracket too many"),
        pytest.param('{"inputs":[],}', id="a comma too many"),
        pytest.param('{"inputs":[],"id":"\\ud800"}', id="half a surrogate pair"),
        pytest.param('{"inputs":[],"id":"\x01"}', id="a control character"),
        pytest.param(b'{"inputs":[],"id":"\xff"}', id="no UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"inputs":[]}', id="a byte order mark"),
        pytest.param('{"inputs":[],"id":99999999999999999999999999}', id="an id that is a huge number"),
        pytest.param('{"inputs":[],"id":NaN}', id="not a number"),
        pytest.param('{"inputs":[],"n":01}', id="a leading zero"),
        pytest.param(f'{{"inputs":{"[" * 101}{"]" * 101}}}', id="too deep"),
        pytest.param(f'{{"inputs":[],"x":{"[" * 2000}{"]" * 2000}}}', id="far too deep"),
    ],
)
def test_a_document_that_is_wrong_is_refused_for_the_same_reason(text: str | bytes) -> None:
    assert isinstance(both(text), str)


TENSOR = '"name":"x","datatype":"INT32","shape":[1]'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f'{{"inputs":[{{{TENSOR},"data":[1],"data":[2]}}]}}', 2),
        (f'{{"inputs":[{{{TENSOR},"data":[1.5],"data":[2]}}]}}', 2),
        (f'{{"inputs":[{{{TENSOR},"data":[1],"data":[2],"parameters":{{"a":1,"a":2}}}}]}}', 2),
        (f'{{"inputs":[],"inputs":[{{{TENSOR},"data":[2]}}]}}', 2),
        (f'{{"inputs":[{{{TENSOR},"data":[1]}}],"inputs":[{{{TENSOR},"data":[2]}}]}}', 2),
        (f'{{"inputs":[{{"name":"y",{TENSOR},"data":[2]}}]}}', 2),
        (f'{{"id":"a","inputs":[{{{TENSOR},"data":[2]}}],"id":""}}', 2),
        (f'{{"\\u0069nputs":[{{{TENSOR},"d\\u0061ta":[2]}}]}}', 2),
        (f'{{"inputs":[{{{TENSOR},"data":[2],"\\u0000":0}}],"a\\u0000b":0}}', 2),
        (f'{{"inputs":[{{{TENSOR},"data":[2]}}],"note":"[[["}}', 2),
        (f'{{"inputs":[{{{TENSOR},"data":[2]}}],"":0,"a/b":[{{}}],"~0":{{"c":[1,{{}}]}}}}', 2),
    ],
)
def test_of_a_key_that_comes_twice_the_last_one_counts(text: str, value: int) -> None:
    assert both(text) == ({"x": (np.dtype(np.int32), (1,), np.int32(value).tobytes())}, (), None, False)


def test_everything_around_the_numbers_is_read_too() -> None:
    text = json.dumps(
        {
            "id": "zwölf",
            "parameters": {"binary_data_output": True, "other": [1, {"deep": [None]}]},
            "inputs": [
                {"name": "a", "datatype": "FP32", "shape": [2], "data": [1, 2], "parameters": {"note": "x"}},
                {"name": "b", "datatype": "BYTES", "shape": [1], "data": ["x"]},
                {"name": "c", "datatype": "BOOL", "shape": [1], "data": [True]},
                {"name": "d", "datatype": "FP32", "shape": [0]},
                {"name": "e", "datatype": "FP32", "shape": [0], "data": None, "parameters": None},
            ],
            "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}],
        }
    )
    inputs, outputs, request_id, binary = both(text, names="abcde")
    assert inputs == {
        "a": (np.dtype(np.float32), (2,), np.array([1, 2], np.float32).tobytes()),
        "b": (np.dtype(np.object_), (1,), ["x"]),
        "c": (np.dtype(np.bool_), (1,), b"\1"),
        "d": (np.dtype(np.float32), (0,), b""),
        "e": (np.dtype(np.float32), (0,), b""),
    }
    assert outputs == (v2.RequestedOutput("y", False), v2.RequestedOutput("z", None))
    assert (request_id, binary) == ("zwölf", True)


def test_a_large_document_may_have_binary_tensors_behind_it() -> None:
    tensor = {"name": "x", "datatype": "UINT8", "shape": [2], "parameters": {"binary_data_size": 2}}
    text = json.dumps({"inputs": [tensor]}).encode() + PADDING
    request = v2.decode(text + b"\1\2", len(text), signature("x"), LIMITS)
    assert request.inputs["x"].tolist() == [1, 2]


def test_the_numbers_outlive_the_text() -> None:
    text = bytearray(body([1, 2]).encode() + PADDING)
    array = v2.decode(bytes(text), None, signature("x"), LIMITS).inputs["x"]
    text[:] = bytes(len(text))
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (body([1, 2]), "it is small"),
        (body([{}] * 99) + PADDING.decode(), "it has more objects than are worth it"),
        (body([1, 2], shape=[1] * 10_001), "it has more values around the numbers than are worth it"),
        (f'{{"inputs":[],"a":{"[" * 101}{"]" * 101}}}' + PADDING.decode(), "it is too deep beside the numbers"),
        (body("[" * 98 + "]" * 98) + PADDING.decode(), "its numbers are too deep"),
        ('{"inputs":[' + PADDING.decode(), "it is no JSON"),
        ("[]" + PADDING.decode(), "it is no object"),
        ("{}" + PADDING.decode(), "it is empty"),
        (
            '{"inputs":[],' + ",".join(f'"{key}":1' for key in range(5000)) + "}",
            "each of many keys had to be looked up",
        ),
        ('{"inputs":[],"inputs":[]}' + PADDING.decode(), "a key comes twice"),
        ('{"inputs":[],"a\\u0000":1}' + PADDING.decode(), "a key has an end in its middle"),
        ('{"inputs":[],"id":99999999999999999999999999}' + PADDING.decode(), "a number has more than 64 bits"),
        ('\ufeff{"inputs":[]}' + PADDING.decode(), "it begins with a byte order mark"),
        (body("[1,[2]]") + PADDING.decode(), "an array stands among numbers"),
        (body("[[1],[2,3]]") + PADDING.decode(), "arrays side by side have different lengths"),
    ],
)
def test_what_the_fast_way_cannot_take_is_left_to_the_ordinary_one(text: str, why: str) -> None:
    assert large.parse(text.encode(), LIMITS) is None, why


@pytest.mark.parametrize(("size", "fast"), [(LEAST_BYTES - 1, False), (LEAST_BYTES, True)])
def test_from_a_size_on_the_fast_way_is_taken(size: int, fast: bool) -> None:
    assert (large.parse(body([1, 2]).ljust(size).encode(), LIMITS) is not None) is fast


@pytest.mark.parametrize("shape", [(3000, 1), (1500, 2), (50, 60), (3000, 1, 1), (3000, 0)])
def test_rows_may_be_many_and_short(shape: tuple[int, ...]) -> None:
    data = np.arange(prod(shape)).reshape(shape).tolist()
    text = body(data, "INT32", shape).ljust(LEAST_BYTES)
    assert is_fast(text, Datatype.INT32)
    got = v2.decode(text.encode(), None, signature("x"), LIMITS).inputs["x"]
    assert (got.shape, got.tolist()) == (shape, data)


def test_what_is_no_number_is_read_as_far_as_it_is_harmless() -> None:
    """A number costs eight bytes, an object many times that."""

    def refusal(data: str, datatype: str) -> str:
        with pytest.raises(MalformedRequest) as caught:
            v2.decode(body(f"[{data}]", datatype, (1,)).encode(), None, signature("x"), Limits(values=5000))
        return str(caught.value)

    numbers, others = "1," * 10_000 + "1", "true," * 10_000 + "true"
    assert refusal(numbers, "INT8") == "input 'x': INT8[1] has 1 elements, 'data' has 10001"
    assert refusal(f"{numbers},128", "INT8") == (
        "input 'x': expected all elements in the range of INT8, got others among them"
    )
    assert refusal(others, "BOOL") == "input 'x': expected at most 5000 elements, got 10001"


def test_arrays_are_as_many_as_simdjson_can_count() -> None:
    """It makes lists of as many elements as it has counted, and writes beyond the end of a longer one."""
    most = document.MOST_NUMBERS
    assert large.parse(body(f"[{'1,' * most}1]", "INT8").encode(), LIMITS) is None
    text = body(f"[{'1,' * (most - 10)}1]", "INT8", (most - 9,)).encode()
    assert v2.decode(text, None, signature("x"), LIMITS).inputs["x"].sum() == most - 9
