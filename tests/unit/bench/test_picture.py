"""The picture of latency against throughput."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from service.bench import picture
from service.bench.picture import Point

SVG = "{http://www.w3.org/2000/svg}"
CURVE = [Point(100, 0.001, 0.002), Point(500, 0.002, 0.008), Point(900, 0.004, 0.09)]
NOWHERE = Point(1000, float("nan"), float("nan"))


def texts(drawn: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(drawn).iter(f"{SVG}text")]


def test_it_has_a_title_axes_with_units_and_a_legend(tmp_path: Path) -> None:
    picture.write(tmp_path / "cat.svg", {"1 < 2": CURVE, "other": CURVE[:2]}, "cat & dog", goal=0.01)
    assert texts((tmp_path / "cat.svg").read_text()) == [
        "cat & dog",
        *("1 ms", "10 ms", "100 ms", "latency (logarithmic)"),
        *("0", "200", "400", "600", "800", "requests a second, open loop"),
        "goal: 10 ms",
        *("1 < 2", "other", "median", "99th percentile"),
    ]


def test_each_curve_has_a_full_line_and_a_dashed_one_through_its_points() -> None:
    drawn = ElementTree.fromstring(picture.drawn({"cat": CURVE}, "cat"))
    lines = [path for path in drawn.iter(f"{SVG}path") if path.get("fill") == "none"]
    assert [line.get("stroke-dasharray") for line in lines] == ["none", "6 4"]
    assert [line.get("d", "").count("L") for line in lines] == [2, 2]
    assert len(list(drawn.iter(f"{SVG}circle"))) == 6


def test_a_faster_point_lies_further_to_the_right_and_a_slower_one_higher() -> None:
    drawn = ElementTree.fromstring(picture.drawn({"cat": CURVE}, "cat"))
    circles = [(float(each.get("cx", "")), float(each.get("cy", ""))) for each in drawn.iter(f"{SVG}circle")]
    medians = circles[:3]
    assert sorted(medians) == medians
    assert sorted(medians, key=lambda at: -at[1]) == medians


@pytest.mark.parametrize(
    ("curves", "circles"), [({}, 0), ({"cat": [NOWHERE]}, 0), ({"cat": CURVE[:1]}, 2), ({"cat": [NOWHERE, *CURVE]}, 6)]
)
def test_what_has_no_latency_is_left_out(curves: dict[str, list[Point]], circles: int) -> None:
    drawn = picture.drawn(curves, "cat")
    assert len(list(ElementTree.fromstring(drawn).iter(f"{SVG}circle"))) == circles


@pytest.mark.parametrize("most", [0.05, 3, 70, 12_345, 900_000])
def test_rates_are_round_numbers_and_not_too_many(most: float) -> None:
    drawn = picture.drawn({"cat": [Point(most, 0.001, 0.002)]}, "cat")
    rates = texts(drawn)[4:-4]
    assert 2 <= len(rates) <= 9
    assert all(len(rate.strip("0.,")) <= 3 for rate in rates)


def test_a_goal_beyond_the_axes_is_not_drawn() -> None:
    assert "goal" not in picture.drawn({"cat": CURVE}, "cat", goal=10)
