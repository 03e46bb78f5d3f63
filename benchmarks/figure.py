"""The picture: latency against throughput.

Drawn by hand as SVG, because a chart of four lines does not need a plotting library and its dozen dependencies.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 420, 64, 56, 28, 130
_COLOURS: Final = ("#0b6e4f", "#b3541e", "#3d5a80")
_STEPS: Final = [digit * 10**zeros for zeros in range(7) for digit in (1, 2, 5)]
_DASHES: Final = {"p50": "none", "p99": "6 4"}


class Point(NamedTuple):
    """Requests a second, and seconds."""

    rate: float
    p50: float
    p99: float


Curves = Mapping[str, Sequence[Point]]


def write(path: Path, curves: Curves) -> None:
    """One colour for each server; a full line is the median, a dashed one the 99th percentile."""
    body = "\n".join((*_axes(curves), *_lines(curves)))
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{background}\n{body}\n</svg>\n')


def _points(curves: Curves) -> list[Point]:
    return [point for curve in curves.values() for point in curve]


def _x(curves: Curves, rate: float) -> float:
    return _LEFT + rate / max(point.rate for point in _points(curves)) * (_WIDTH - _LEFT - _RIGHT)


def _y(curves: Curves, seconds: float) -> float:
    """Logarithmic: a tail is several times the median."""
    low, high = _decades(curves)
    return _HEIGHT - _BOTTOM - (math.log10(seconds) - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP)


def _decades(curves: Curves) -> tuple[int, int]:
    low = min(point.p50 for point in _points(curves))
    high = max(point.p99 for point in _points(curves))
    return math.floor(math.log10(low)), math.ceil(math.log10(high))


def _axes(curves: Curves) -> Iterator[str]:
    low, high = _decades(curves)
    for decade in range(low, high + 1):
        y = _y(curves, 10.0**decade)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** (decade + 3):g} ms</text>'
    most = max(point.rate for point in _points(curves))
    step = next(step for step in _STEPS if most / step <= 8)
    for rate in range(0, int(most) + 1, step):
        yield f'<text x="{_x(curves, rate):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{rate}</text>'
    yield f'<text x="{_LEFT}" y="{_HEIGHT - 14}">requests a second, one core, open loop; digits model, JSON</text>'


def _lines(curves: Curves) -> Iterator[str]:
    for colour, (name, curve) in zip(_COLOURS, curves.items(), strict=False):
        for percentile, dash in _DASHES.items():
            at = [(_x(curves, point.rate), _y(curves, getattr(point, percentile))) for point in curve]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
            yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            x, y = at[-1]
            yield f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" fill="{colour}">{name} {percentile}</text>'
