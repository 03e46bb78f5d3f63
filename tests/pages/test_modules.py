"""What the modules of the page compute, each called by itself in the browser."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.pages.conftest import visiting
from tests.process.conftest import Service

Call = Callable[..., Any]
CALL = "([file, name, given]) => import(`./static/${file}`).then((module) => module[name](...given))"
CLASSES = [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}]


@pytest.fixture(scope="module")
def call(chromium: Browser, prefixed: Service) -> Iterator[Call]:
    """`call("tensors.js", "shapeOf", value, promised)`"""
    with visiting(chromium, prefixed.api, "/") as page:
        yield lambda file, name, *given: page.evaluate(CALL, [file, name, list(given)])


@pytest.mark.parametrize(
    ("value", "promised", "shape"),
    [
        ([[1, 2], [3, 4]], [-1, 2], [2, 2]),
        ([1, 2, 3, 4], [-1, 2], [2, 2]),
        ([1, 2, 3], [-1], [3]),
        ([1, 2, 3], [-1, 2], [3]),
        ([1, 2, 3, 4], [-1, -1], [4]),
        ([1, 2, 3, 4], [2, 2], [2, 2]),
        ([[]], [-1, -1], [1, 0]),
        (7, [], []),
    ],
)
def test_a_shape_is_that_of_the_lists_or_what_a_flat_one_fills(
    call: Call, value: Any, promised: list[int], shape: list[int]
) -> None:
    assert call("tensors.js", "shapeOf", value, promised) == shape


@pytest.mark.parametrize(
    ("datatype", "shape", "text"),
    [
        ("FP32", [-1, 2], "[\n  [0, 0]\n]"),
        ("BOOL", [2], "[false, false]"),
        ("BYTES", [-1], '[""]'),
        ("INT64", [], "0"),
        ("FP32", [1, 3, 224, 224], ""),
    ],
)
def test_a_field_without_an_example_holds_nothing_of_the_right_shape(
    call: Call, datatype: str, shape: list[int], text: str
) -> None:
    assert call("tensors.js", "prefilled", {"name": "x", "datatype": datatype, "shape": shape}) == text


def test_what_is_typed_is_sent_as_it_is(call: Call) -> None:
    x = {"name": "x", "datatype": "INT64", "shape": [-1]}
    scalar = {"name": "s", "datatype": "FP64", "shape": []}
    assert call("tensors.js", "request", [x, scalar], [" [18446744073709551615] ", "1e400"]) == (
        '{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[18446744073709551615]},'
        '{"name":"s","datatype":"FP64","shape":[],"data":[1e400]}]}'
    )


@pytest.mark.parametrize(
    ("json", "text"),
    [
        ('{"a":[1,2],"b":{},"c":[]}', '{\n  "a": [1, 2],\n  "b": {},\n  "c": []\n}'),
        ("[[1,2],[3,4]]", "[\n  [1, 2],\n  [3, 4]\n]"),
        ('{"a":"[,:{\\"}"}', '{\n  "a": "[,:{\\"}"\n}'),
        ("-1.50e+3", "-1.50e+3"),
    ],
)
def test_only_the_space_in_json_is_changed(call: Call, json: str, text: str) -> None:
    assert call("tensors.js", "indented", json) == text


@pytest.mark.parametrize(
    ("shape", "example", "kind"),
    [
        ([-1, 64], [0, 9], {"size": 8, "white": 16, "margin": 0, "pen": 0.16}),
        ([-1, 64], None, {"size": 8, "white": 16, "margin": 0, "pen": 0.16}),
        ([-1, 8, 8], [0, 0.5], {"size": 8, "white": 1, "margin": 0, "pen": 0.16}),
        ([1, 1, 28, 28], None, {"size": 28, "white": 1, "margin": 4, "pen": 0.11}),
        ([-1, 784], [200], {"size": 28, "white": 255, "margin": 4, "pen": 0.11}),
        ([-1, 28, 28, 1], [1], {"size": 28, "white": 1, "margin": 4, "pen": 0.11}),
        ([-1, 16, 4], None, None),
        ([-1, 63], None, None),
        ([2, 64], None, None),
        ([-1, -1], None, None),
        ([], None, None),
    ],
)
def test_a_small_square_may_be_drawn(call: Call, shape: list[int], example: Any, kind: Any) -> None:
    metadata = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape}], "outputs": CLASSES}
    assert call("picture.js", "kindOf", metadata, {"data": example} if example else None) == kind


def test_what_has_no_classes_or_takes_more_is_not_drawn(call: Call) -> None:
    picture = {"name": "x", "datatype": "FP32", "shape": [-1, 64]}
    for metadata in (
        {"inputs": [picture], "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 384]}]},
        {"inputs": [picture, picture], "outputs": CLASSES},
        {"inputs": [picture | {"datatype": "INT64"}], "outputs": CLASSES},
        {"inputs": [], "outputs": CLASSES},
    ):
        assert call("picture.js", "kindOf", metadata, None) is None


def test_a_drawing_fills_the_picture_wherever_it_was_drawn(call: Call) -> None:
    side, kind = 40, {"size": 4, "margin": 1, "white": 16}
    for left, top in ((0, 0), (25, 5)):
        ink = [1.0 if left <= x < left + 10 and top <= y < top + 10 else 0.0 for y in range(side) for x in range(side)]
        assert call("picture.js", "downsample", ink, side, kind) == [
            *(0, 0, 0, 0),
            *(0, 16, 16, 0),
            *(0, 16, 16, 0),
            *(0, 0, 0, 0),
        ]
    assert call("picture.js", "downsample", [0.0] * side * side, side, kind) == [0] * 16


@pytest.mark.parametrize(
    ("document", "scores"),
    [
        ({"outputs": [{"name": "scores", "shape": [1, 2], "data": [0.25, 0.75]}]}, [0.25, 0.75]),
        ({"outputs": [{"name": "scores", "shape": [2, 2], "data": [[0.5, 0.5], [0, 1]]}]}, [0.5, 0.5]),
        ({"predictions": [{"scores": [0, 1]}]}, [0, 1]),
        ({"predictions": [[0, 1]]}, [0, 1]),
        ({"outputs": [{"name": "scores", "shape": [1, 2], "data": [3, 4]}]}, None),
        ({"outputs": [{"name": "scores", "shape": [2], "data": [0, 1]}]}, None),
        ({"outputs": 2.0}, None),
        ({"outputs": [None]}, None),
        ({"predictions": ["setosa"]}, None),
    ],
)
def test_scores_of_classes_are_found_where_there_are_some(call: Call, document: Any, scores: Any) -> None:
    found = call("scores.js", "scoresOf", CLASSES, document)
    assert found == (scores and {"labels": ["0", "1"], "shares": scores})


def test_numbers_that_are_no_shares_become_some_for_a_drawing(call: Call) -> None:
    document = {"outputs": [{"name": "scores", "shape": [1, 2], "data": [1000, 1000]}]}
    assert call("scores.js", "scoresOf", CLASSES, document, True)["shares"] == [0.5, 0.5]


def counted(requests: int, nanoseconds: int, rows: int, runs: int) -> Any:
    duration = {"count": requests, "ns": nanoseconds}
    stats = {"success": duration, "fail": {"count": 0, "ns": 0}, "queue": duration}
    return {"name": "m", "inference_count": rows, "execution_count": runs, "inference_stats": stats}


def test_readings_are_the_differences_of_what_is_counted(call: Call) -> None:
    before, after = (
        call("statistics.js", "totals", {"model_stats": [stats, counted(1, 1, 1, 1) | {"name": "n"}]}, "m")
        for stats in (counted(10, 5_000_000, 20, 10), counted(14, 13_000_000, 36, 12))
    )
    assert call("statistics.js", "reading", before, after, 2) == {"rate": 2, "latency": 2, "batch": 8, "queue": 2}
    assert call("statistics.js", "reading", after, after, 2) == {
        "rate": 0,
        "latency": None,
        "batch": None,
        "queue": None,
    }
    assert call("statistics.js", "reading", after, before, 2) is None


def test_all_models_are_counted_together(call: Call) -> None:
    totals = call("statistics.js", "totals", {"model_stats": [counted(1, 2, 3, 4), counted(10, 20, 30, 40)]}, "")
    assert totals == {"requests": 11, "latency": 22, "rows": 33, "runs": 44, "queued": 11, "queue": 22}
