"""Inference in plain JSON: what is read, what is answered, and what is refused with which words."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.oip import Answer, Json, assert_problem, outputs, tensor
from tests.web.conftest import Serve

ONES = tensor("x", "FP32", [1, 4], [1, 1, 1, 1])
TWOS = tensor("y", "FP32", [1, 4], [2.0, 2.0, 2.0, 2.0])
A = tensor("a", "INT32", [1, 16], range(16))
B = tensor("b", "INT32", [1, 16], [1] * 16)
SUM = tensor("sum", "INT32", [1, 16], range(1, 17))
DIFFERENCE = tensor("difference", "INT32", [1, 16], range(-1, 15))

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**53 + 1, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**53 + 1, 2**63 - 1],
    "FP16": [0.5, -65504.0, 2.0**-10],
    "FP32": [0.5, -1.25, 1e10, 2.0**-10],
    "FP64": [0.1, 5e-324, -1.7976931348623157e308],
    "BYTES": ["", "plain", "Grüße, 世界 🦄", '"quoted" \\ and\nbroken', "nul \0 inside"],
}


def infer(client: TestClient, model: str, *inputs: Json, **others: Any) -> Answer:
    return client.post(f"/v2/models/{model}/infer", json={"inputs": list(inputs), **others})


def infer_text(client: TestClient, model: str, body: str) -> Answer:
    return client.post(f"/v2/models/{model}/infer", content=body.encode())


def test_an_answer_says_model_version_id_and_outputs_and_nothing_else(client: TestClient) -> None:
    answer = infer(client, "double", ONES, id="mine")
    assert answer.json() == {"model_name": "double", "model_version": "1", "id": "mine", "outputs": [TWOS]}
    assert answer.headers["Content-Type"].startswith("application/json")


def test_a_version_can_be_named_in_the_path(client: TestClient) -> None:
    body = {"id": "mine", "inputs": [ONES]}
    named = client.post("/v2/models/double/versions/1/infer", json=body)
    assert named.json() == client.post("/v2/models/double/infer", json=body).json()


@pytest.mark.parametrize("datatype", tiny.DATATYPES)
def test_every_value_of_a_datatype_survives_exactly(client: TestClient, datatype: str) -> None:
    values = VALUES[datatype]
    [y] = outputs(infer(client, f"identity_{datatype.lower()}", tensor("x", datatype, [1, len(values)], values)))
    assert y == tensor("y", datatype, [1, len(values)], values)
    assert [type(value) for value in y["data"]] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("FP16", 0.1),
        ("FP16", 2.0**-24),
        ("FP32", 0.1),
        ("FP32", 3.4028235e38),
        ("FP32", 2.0**-149),
        ("FP64", 1 / 3),
    ],
)
def test_a_float_is_answered_with_all_its_digits(client: TestClient, datatype: str, value: float) -> None:
    [y] = outputs(infer(client, f"identity_{datatype.lower()}", tensor("x", datatype, [1, 1], [value])))
    precision = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}[datatype]
    assert precision(y["data"][0]) == precision(value)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_integers_are_numbers_for_a_float_input(client: TestClient, datatype: str) -> None:
    [y] = outputs(infer(client, f"identity_{datatype.lower()}", tensor("x", datatype, [1, 3], [1, -2, 0])))
    assert y == tensor("y", datatype, [1, 3], [1.0, -2.0, 0.0])


def test_zero_and_one_are_booleans(client: TestClient) -> None:
    [y] = outputs(infer(client, "identity_bool", tensor("x", "BOOL", [1, 4], [1, 0, True, False])))
    assert [value is True for value in y["data"]] == [True, False, True, False]


def test_strings_are_answered_for_integers(client: TestClient) -> None:
    answer = infer(client, "gather_words", tensor("index", "INT64", [3], [2, 0, 2]))
    assert outputs(answer) == [tensor("word", "BYTES", [3], ["zwölf", "zero", "zwölf"])]


@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        pytest.param(
            "scalar",
            tensor("x", "FP32", [], [1.5]),
            tensor("y", "FP32", [], [3.0]),
            id="no dimension",
        ),
        pytest.param(
            "fixed",
            tensor("x", "FP32", [1, 3], [1, 2, 3]),
            tensor("y", "FP32", [1, 3], [-1.0, -2.0, -3.0]),
            id="fixed batch",
        ),
        pytest.param(
            "identity_fp32",
            tensor("x", "FP32", [0, 3], []),
            tensor("y", "FP32", [0, 3], []),
            id="no row",
        ),
        pytest.param(
            "identity_int64",
            tensor("x", "INT64", [2, 0], []),
            tensor("y", "INT64", [2, 0], []),
            id="no column",
        ),
        pytest.param(
            "identity_bytes",
            tensor("x", "BYTES", [0, 0], []),
            tensor("y", "BYTES", [0, 0], []),
            id="no text",
        ),
    ],
)
def test_a_shape_at_the_edge_is_served(client: TestClient, model: str, x: Json, y: Json) -> None:
    assert outputs(infer(client, model, x)) == [y]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param([1, 2, 3, 4], id="flat"),
        pytest.param([[1, 2], [3, 4]], id="nested as the shape"),
        pytest.param([[1, 2, 3, 4]], id="nested otherwise"),
        pytest.param([[[1], [2]], [[3], [4]]], id="nested deeper"),
    ],
)
def test_flat_and_nested_data_are_read_and_flat_data_is_answered(client: TestClient, data: Any) -> None:
    [y] = outputs(infer(client, "identity_int32", tensor("x", "INT32", [2, 2], data)))
    assert y == tensor("y", "INT32", [2, 2], [1, 2, 3, 4])


def test_nested_emptiness_is_an_empty_tensor(client: TestClient) -> None:
    [y] = outputs(infer(client, "identity_fp32", tensor("x", "FP32", [2, 0], [[], []])))
    assert y == tensor("y", "FP32", [2, 0], [])


def test_dimensions_of_different_names_are_independent(client: TestClient) -> None:
    answer = infer(client, "two_free", tensor("a", "FP32", [2], [1, 2]), tensor("b", "FP32", [3], [3, 4, 5]))
    assert outputs(answer) == [tensor("outer", "FP32", [2, 3], [3.0, 4.0, 5.0, 6.0, 8.0, 10.0])]


@pytest.mark.parametrize("shape", [[2], [1, 2, 1]], ids=str)
def test_a_model_of_unknown_rank_takes_any_shape(serve: Serve, tmp_path: Path, shape: list[int]) -> None:
    with serve(tiny.repository(tmp_path, unknown_rank=tiny.unknown_rank())) as client:
        answer = infer(client, "unknown_rank", tensor("x", "FP32", shape, [1, 2]))
    assert outputs(answer) == [tensor("y", "FP32", shape, [-1.0, -2.0])]


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        pytest.param({}, [SUM, DIFFERENCE], id="all when not asked"),
        pytest.param({"outputs": []}, [SUM, DIFFERENCE], id="all when none is listed"),
        pytest.param({"outputs": [{"name": "difference"}]}, [DIFFERENCE], id="a subset"),
        pytest.param(
            {"outputs": [{"name": "difference"}, {"name": "sum"}]},
            [DIFFERENCE, SUM],
            id="in the order asked for",
        ),
    ],
)
def test_the_requested_outputs_are_answered(client: TestClient, requested: Json, expected: list[Json]) -> None:
    assert outputs(infer(client, "add_sub", A, B, **requested)) == expected


def test_inputs_may_come_in_any_order(client: TestClient) -> None:
    assert outputs(infer(client, "add_sub", B, A)) == [SUM, DIFFERENCE]


def test_what_is_not_a_number_becomes_null_and_the_output_says_so(client: TestClient) -> None:
    answer = infer(client, "reciprocal", tensor("x", "FP32", [1, 3], [0, -1, 1]))
    assert outputs(answer) == [
        tensor("reciprocal", "FP32", [1, 3], [None, -1.0, 1.0]) | {"parameters": {"nonfinite": True}},
        tensor("log", "FP32", [1, 3], [None, None, 0.0]) | {"parameters": {"nonfinite": True}},
    ]


def test_only_the_output_that_is_not_finite_says_so(client: TestClient) -> None:
    reciprocal, log = outputs(infer(client, "reciprocal", tensor("x", "FP32", [1, 1], [-4])))
    assert reciprocal == tensor("reciprocal", "FP32", [1, 1], [-0.25])
    assert log == tensor("log", "FP32", [1, 1], [None]) | {"parameters": {"nonfinite": True}}


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [ONES], "model_name": "another", "unknown": {"deep": [None]}},
        {"inputs": [ONES | {"unknown": 1}]},
        {"inputs": [ONES], "outputs": [{"name": "y", "unknown": 1}]},
        {"inputs": [ONES], "parameters": {"unknown": "value"}},
        {"inputs": [ONES | {"parameters": {"unknown": 1.5}}]},
        {"inputs": [ONES], "outputs": [{"name": "y", "parameters": {"unknown": True}}]},
    ],
    ids=["request", "input", "output", "parameter", "input parameter", "output parameter"],
)
def test_unknown_keys_are_ignored(client: TestClient, body: Json) -> None:
    assert outputs(client.post("/v2/models/double/infer", json=body)) == [TWOS]


def test_of_duplicate_keys_the_last_one_wins(client: TestClient) -> None:
    x = json.dumps(ONES)
    body = f'{{"inputs": 5, "inputs": [{x}]}}'
    assert outputs(infer_text(client, "double", body)) == [TWOS]


@pytest.mark.parametrize(
    ("model", "x", "expected", "got"),
    [
        ("double", tensor("x", "INT64", [1, 4], [1] * 4), "FP32[-1,4]", "INT64[1,4]"),
        ("double", tensor("x", "FP64", [1, 4], [1] * 4), "FP32[-1,4]", "FP64[1,4]"),
        ("double", tensor("x", "BYTES", [1, 4], ["1"] * 4), "FP32[-1,4]", "BYTES[1,4]"),
        ("double", tensor("x", "FP32", [1, 3], [1] * 3), "FP32[-1,4]", "FP32[1,3]"),
        ("double", tensor("x", "FP32", [4], [1] * 4), "FP32[-1,4]", "FP32[4]"),
        ("double", tensor("x", "FP32", [1, 1, 4], [1] * 4), "FP32[-1,4]", "FP32[1,1,4]"),
        ("double", tensor("x", "FP32", [1, 0], []), "FP32[-1,4]", "FP32[1,0]"),
        ("fixed", tensor("x", "FP32", [2, 3], [1] * 6), "FP32[1,3]", "FP32[2,3]"),
        ("scalar", tensor("x", "FP32", [1], [1]), "FP32[]", "FP32[1]"),
        ("identity_int32", tensor("x", "INT64", [1, 1], [1]), "INT32[-1,-1]", "INT64[1,1]"),
        ("identity_bool", tensor("x", "UINT8", [1, 1], [1]), "BOOL[-1,-1]", "UINT8[1,1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_tensor_of_another_type_is_refused_with_both(
    client: TestClient, model: str, x: Json, expected: str, got: str
) -> None:
    answer = infer(client, model, x)
    assert_problem(answer, 400, "signature_mismatch", "x")
    assert expected in answer.json()["error"]
    assert got in answer.json()["error"]


@pytest.mark.parametrize(
    ("inputs", "mentioned"),
    [
        pytest.param([], ["a", "b"], id="no input"),
        pytest.param([A], ["b"], id="a missing input"),
        pytest.param([A, B, A | {"name": "c"}], ["c"], id="an unknown input"),
        pytest.param([A, B, A | {"name": "c"}, A | {"name": "d"}], ["c", "d"], id="unknown inputs"),
        pytest.param([A, A | {"name": "c"}], ["b", "c"], id="a misspelt input"),
        pytest.param([A, B | {"name": "B"}], ["b", "B"], id="another case"),
    ],
)
def test_missing_and_unknown_inputs_are_all_named(client: TestClient, inputs: list[Json], mentioned: list[str]) -> None:
    assert_problem(infer(client, "add_sub", *inputs), 400, "signature_mismatch", *mentioned)


def test_unknown_outputs_are_all_named(client: TestClient) -> None:
    requested = [{"name": "sum"}, {"name": "product"}, {"name": "quotient"}]
    answer = infer(client, "add_sub", A, B, outputs=requested)
    assert_problem(answer, 400, "signature_mismatch", "product", "quotient")


def test_inputs_that_disagree_about_a_dimension_of_one_name_are_both_named(client: TestClient) -> None:
    two_rows = tensor("b", "INT32", [2, 16], [1] * 32)
    assert_problem(infer(client, "add_sub", A, two_rows), 400, "signature_mismatch", "a", "b")


@pytest.mark.parametrize(
    ("inputs", "mentioned"),
    [
        pytest.param([A, A, B], "a", id="twice the same"),
        pytest.param([A, A | {"data": [0] * 16}, B], "a", id="twice with other data"),
    ],
)
def test_a_duplicate_input_is_refused(client: TestClient, inputs: list[Json], mentioned: str) -> None:
    assert_problem(infer(client, "add_sub", *inputs), 400, "malformed_request", mentioned)


def test_a_duplicate_output_is_refused(client: TestClient) -> None:
    answer = infer(client, "add_sub", A, B, outputs=[{"name": "sum"}, {"name": "sum"}])
    assert_problem(answer, 400, "malformed_request", "sum")


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT8", 128),
        ("INT8", -129),
        ("INT16", 2**15),
        ("INT32", 2**31),
        ("INT32", -(2**31) - 1),
        ("INT64", 2**63),
        ("INT64", -(2**63) - 1),
        ("INT64", 10**30),
        ("UINT8", 256),
        ("UINT8", -1),
        ("UINT16", 2**16),
        ("UINT32", 2**32),
        ("UINT64", -1),
        ("UINT64", 2**64),
        ("FP16", 65536),
        ("FP16", 1e10),
        ("FP32", 1e39),
        ("FP32", -1e39),
        ("FP32", 10**39),
        ("BOOL", 2),
        ("BOOL", -1),
    ],
)
def test_a_number_out_of_range_is_refused(client: TestClient, datatype: str, value: float) -> None:
    answer = infer(client, f"identity_{datatype.lower()}", tensor("x", datatype, [1, 2], [0, value]))
    assert_problem(answer, 400, "malformed_request", "x")


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400])
def test_a_number_beyond_all_datatypes_is_refused(client: TestClient, number: str) -> None:
    body = f'{{"inputs": [{{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [{number}]}}]}}'
    assert_problem(infer_text(client, "identity_fp64", body), 400, "malformed_request")


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        *[(datatype, 1.5) for datatype in ("INT8", "INT64", "UINT8", "UINT64", "BOOL")],
        *[(datatype, 1.0) for datatype in ("INT32", "UINT32", "INT64")],
        *[(datatype, True) for datatype in ("INT8", "INT64", "UINT8", "FP16", "FP32", "FP64", "BYTES")],
        *[(datatype, "1") for datatype in ("INT64", "UINT8", "FP16", "FP32", "FP64")],
        *[(datatype, None) for datatype in ("INT64", "UINT8", "FP16", "FP32", "FP64", "BOOL", "BYTES")],
        *[(datatype, {}) for datatype in ("INT64", "FP32", "BOOL", "BYTES")],
        ("BOOL", "true"),
        ("BYTES", 1),
        ("BYTES", 1.5),
    ],
    ids=lambda value: value if value in tiny.DATATYPES else f"{value!r} a {type(value).__name__}",
)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "among good ones"])
def test_an_element_of_another_kind_is_refused(client: TestClient, datatype: str, value: Any, alone: bool) -> None:
    data = [value] if alone else [VALUES[datatype][0], value]
    answer = infer(client, f"identity_{datatype.lower()}", tensor("x", datatype, [1, len(data)], data))
    assert_problem(answer, 400, "malformed_request", "x")


def test_a_boolean_for_an_integer_is_refused(client: TestClient) -> None:
    answer = infer(client, "identity_int64", tensor("x", "INT64", [1, 2], [True, False]))
    assert_problem(answer, 400, "malformed_request", "x", "INT64")


@pytest.mark.parametrize("text", [r'"\ud800"', r'"\udc00\ud800"'], ids=["lone", "reversed"])
def test_half_a_surrogate_pair_is_refused(client: TestClient, text: str) -> None:
    body = f'{{"inputs": [{{"name": "x", "datatype": "BYTES", "shape": [1, 1], "data": [{text}]}}]}}'
    assert_problem(infer_text(client, "identity_bytes", body), 400, "malformed_request")


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        pytest.param([2, 2], [1, 2, 3], id="too few"),
        pytest.param([2, 2], [1, 2, 3, 4, 5], id="too many"),
        pytest.param([2, 2], [], id="none"),
        pytest.param([0, 2], [1], id="one for an empty shape"),
        pytest.param([2**60, 4], [1], id="a shape of 2**62"),
        pytest.param([2**40, 2**40], [1], id="a shape beyond 64 bits"),
        pytest.param([2**32, 2**32], [], id="a shape that wraps round to none"),
        pytest.param([2**62, 4], [], id="a shape that wraps round to none as signed"),
    ],
)
def test_data_that_does_not_fill_the_shape_is_refused(client: TestClient, shape: Any, data: Any) -> None:
    answer = infer(client, "identity_fp32", tensor("x", "FP32", shape, data))
    assert_problem(answer, 400, "malformed_request", "x")


@pytest.mark.parametrize(
    "data",
    [
        [[1, 2, 3], [4]],
        [[1, 2], [3], [4]],
        [1, [2, 3, 4]],
        [[1, 2], 3, 4],
        [[[1, 2]], [3, 4]],
        [[1, 2], [3, 4], []],
    ],
    ids=str,
)
def test_ragged_data_is_refused(client: TestClient, data: Any) -> None:
    answer = infer(client, "identity_int32", tensor("x", "INT32", [2, 2], data))
    assert_problem(answer, 400, "malformed_request", "x")


@pytest.mark.parametrize("data", [1, "1", True, None, {"0": 1}, 1.5], ids=repr)
def test_data_that_is_no_array_is_refused(client: TestClient, data: Any) -> None:
    answer = infer(client, "identity_fp32", tensor("x", "FP32", [1, 1], []) | {"data": data})
    assert_problem(answer, 400, "malformed_request", "x")


@pytest.mark.parametrize(
    "shape",
    [[-1, 4], [1, -4], [1.5, 4], ["1", 4], [True, 4], [None, 4], [[1, 4]], 4, "1,4", None, {"0": 4}],
    ids=repr,
)
def test_a_shape_that_is_no_array_of_sizes_is_refused(client: TestClient, shape: Any) -> None:
    assert_problem(infer(client, "double", ONES | {"shape": shape}), 400, "malformed_request", "x")


@pytest.mark.parametrize("size", [2**63, 2**64], ids=["unsigned", "beyond"])
def test_a_size_beyond_64_signed_bits_is_refused(client: TestClient, size: int) -> None:
    answer = infer(client, "identity_fp32", tensor("x", "FP32", [size, 0], []))
    assert_problem(answer, 400, "malformed_request", "x")


@pytest.mark.parametrize("datatype", ["FP31", "fp32", "FLOAT", "", 5, None, ["FP32"]], ids=repr)
def test_an_unknown_datatype_is_refused(client: TestClient, datatype: Any) -> None:
    assert_problem(infer(client, "double", ONES | {"datatype": datatype}), 400, "malformed_request", "x")


@pytest.mark.parametrize("key", ["name", "datatype", "shape", "data"])
def test_a_tensor_without_a_required_key_is_refused(client: TestClient, key: str) -> None:
    incomplete = {k: v for k, v in ONES.items() if k != key}
    assert_problem(infer(client, "double", incomplete), 400, "malformed_request", key)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": None},
        {"inputs": ONES},
        {"inputs": "x"},
        {"inputs": [5]},
        {"inputs": [[ONES]]},
        {"inputs": [ONES | {"name": 5}]},
        {"inputs": [ONES | {"parameters": [1]}]},
        {"inputs": [ONES], "parameters": "fast"},
        {"inputs": [ONES], "parameters": {"binary_data_output": "yes"}},
        {"inputs": [ONES], "outputs": {"name": "y"}},
        {"inputs": [ONES], "outputs": ["y"]},
        {"inputs": [ONES], "outputs": [{}]},
        {"inputs": [ONES], "outputs": [{"name": 5}]},
        {"inputs": [ONES], "outputs": [{"name": "y", "parameters": 1}]},
        {"inputs": [ONES], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
        {"inputs": [ONES], "id": 5},
        {"inputs": [ONES], "id": True},
        {"inputs": [ONES], "id": ["mine"]},
        {"inputs": [ONES], "id": {}},
    ],
    ids=lambda body: str(body).replace(str(ONES), "x"),
)
def test_a_request_of_another_form_is_refused(client: TestClient, body: Json) -> None:
    assert_problem(client.post("/v2/models/double/infer", json=body), 400, "malformed_request")


@pytest.mark.parametrize(
    "parameters", [{"binary_data_size": 16}, {"binary_data_size": 0}], ids=["of the size", "empty"]
)
def test_data_both_in_json_and_behind_it_is_refused(client: TestClient, parameters: Json) -> None:
    assert_problem(infer(client, "double", ONES | {"parameters": parameters}), 400, "malformed_request", "x")


def x(data: str, rest: str = "") -> str:
    """A body whose only input has these elements, and these other members."""
    return f'{{"inputs":[{{"name":"x","datatype":"FP64","shape":[1,2],"data":{data}{rest}}}]}}'


@pytest.mark.parametrize(
    "body",
    [
        *map(
            x,
            (
                "[1,2]", "[[1,2]]", "[[1],[2]]", "[1,[2]]", "[[1],2]", "[1]", "[]", "[[],[]]", "null", "{}", "3",
                '"12"', "[1.5,-0.0]", "[0.1,5e-324]", "[9007199254740993,1]",
                "[18446744073709551615,-9223372036854775808]", "[18446744073709551616,1]", "[-9223372036854775809,1]",
                "[1e400,1]", "[NaN,1]", "[01,2]", "[1,2,]", "[true,1]", "[null,1]", '["1",2]', "[{},1]",
            ),
        ),
        x("[1,2]", ',"data":[3,4]'),
        x("[1,2]", ',"parameters":{"binary_data_size":16}'),
        x("[1,2]").replace("FP64", "FP46"),
        x("[1,2]").replace("[1,2]", "[1,2.0]", 1),
        x("[1,2]").replace("name", "n\\u0061me"),
        x("[1,2]").replace('{"inputs"', '{"\\u0000":0,"inputs"'),
        x("[1,2]").replace('{"inputs"', '{"inputs":[],"inputs"'),
        x("[1,2]").replace('{"inputs"', '\ufeff{"inputs"'),
        x("[1,2]") + "]",
        *("", "[]", "null", "{}"),
        *(f'{{"inputs":{inputs}}}' for inputs in ("null", "{}", "[]", "[1]", "[{}]")),
        '{"a":' + "[" * 200 + "]" * 200 + "}",
    ],
)  # fmt: skip
def test_a_long_body_is_read_as_a_short_one(client: TestClient, body: str) -> None:
    """Long ones go another way; blanks change no meaning."""

    def ask(text: str) -> tuple[int, str, Any]:
        answer = client.post("/v2/models/identity_fp64/infer", content=text.encode(), headers={"X-Request-ID": "7"})
        document = answer.json()
        # Where in the text it is wrong differs.
        sentence = document.get("error", "").partition(" is not valid JSON")[0]
        return answer.status_code, sentence, document.get("outputs")

    assert ask(body + " " * 20_000) == ask(body + " " * 70_000) == ask(body)


def test_a_refused_request_leaves_the_next_one_alone(client: TestClient) -> None:
    assert infer(client, "double", ONES | {"data": [math.pi]}).status_code == 400
    assert outputs(infer(client, "double", ONES)) == [TWOS]
