"""The picture: latency against throughput.

Drawn by hand as SVG, because a chart of a few lines does not need a plotting library and its dozen dependencies.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 840, 440, 84, 64, 40, 250
_LINE: Final = 20
# Okabe and Ito's, which people who see fewer colours can tell apart, and two more.
_COLOURS: Final = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a5195", "#888888",
)  # fmt: skip
_STEPS: Final = [digit * 10.0**zeros for zeros in range(-2, 7) for digit in (1, 2, 5)]
_MOST_STEPS: Final = 8
_DASHES: Final = {"p50": "none", "p99": "6 4"}
_MEANINGS: Final = {"p50": "median", "p99": "99th percentile"}


class Point(NamedTuple):
    """Requests a second, and seconds."""

    rate: float
    p50: float
    p99: float


Curves = Mapping[str, Sequence[Point]]


def write(path: Path, curves: Curves, title: str, goal: float | None = None) -> None:
    """One colour for each curve; a full line is the median, a dashed one the 99th percentile. `goal` is in seconds."""
    path.write_text(drawn(curves, title, goal))


def drawn(curves: Curves, title: str, goal: float | None = None) -> str:
    curves = {name: [point for point in curve if point.p50 > 0] for name, curve in curves.items()}
    scale = _Scale.of([point for curve in curves.values() for point in curve])
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    body = (
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{escape(title)}</text>',
        *_latencies(scale),
        *_rates(scale),
        *(_goal(scale, goal) if goal else ()),
        *_lines(scale, curves),
        *_legend(curves),
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {style}>\n' + "\n".join(body) + "\n</svg>\n"


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where a figure lies. Latencies are logarithmic, from one power of ten to another: a tail is several medians."""

    most: float
    low: int
    high: int

    @classmethod
    def of(cls, points: Sequence[Point]) -> "_Scale":
        if not points:
            return cls(1, -3, 0)
        low = math.floor(math.log10(min(point.p50 for point in points)))
        high = math.ceil(math.log10(max(point.p99 for point in points)))
        return cls(max(point.rate for point in points), low, max(high, low + 1))

    def x(self, rate: float) -> float:
        return _LEFT + rate / self.most * (_WIDTH - _LEFT - _RIGHT)

    def y(self, seconds: float) -> float:
        return (
            _HEIGHT - _BOTTOM - (math.log10(seconds) - self.low) / (self.high - self.low) * (_HEIGHT - _BOTTOM - _TOP)
        )


def _latencies(scale: _Scale) -> Iterator[str]:
    for decade in range(scale.low, scale.high + 1):
        y = scale.y(10.0**decade)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_time(decade)}</text>'
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    yield f'<text transform="translate(18 {middle:g}) rotate(-90)" text-anchor="middle">latency (logarithmic)</text>'


def _time(decade: int) -> str:
    return f"{10.0**decade:,g} s" if decade >= 0 else f"{10.0 ** (decade + 3):g} ms"


def _rates(scale: _Scale) -> Iterator[str]:
    bottom = _HEIGHT - _BOTTOM
    step = next((step for step in _STEPS if scale.most / step <= _MOST_STEPS), scale.most)
    for count in range(int(scale.most / step) + 1):
        x = scale.x(count * step)
        yield f'<path d="M{x:.1f} {bottom}v5" stroke="#999"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{count * step:,g}</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle:g}" y="{bottom + 44}" text-anchor="middle">requests a second, open loop</text>'


def _goal(scale: _Scale, goal: float) -> Iterator[str]:
    y = scale.y(goal)
    if _TOP <= y <= _HEIGHT - _BOTTOM:
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#b00" stroke-dasharray="2 3"/>'
        yield f'<text x="{_WIDTH - _RIGHT + 6}" y="{y + 4:.1f}" fill="#b00">goal: {goal * 1000:g} ms</text>'


def _lines(scale: _Scale, curves: Curves) -> Iterator[str]:
    for colour, curve in zip(cycle(_COLOURS), curves.values(), strict=False):
        for percentile, dash in _DASHES.items():
            at = [(scale.x(point.rate), scale.y(getattr(point, percentile))) for point in curve]
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in at)
            if len(at) > 1:
                path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
                yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'


def _legend(curves: Curves) -> Iterator[str]:
    x, bottom = _WIDTH - _RIGHT + 16, _HEIGHT - _BOTTOM
    for row, (colour, name) in enumerate(zip(cycle(_COLOURS), curves, strict=False)):
        y = _TOP + row * _LINE
        yield f'<path d="M{x} {y}h18" stroke="{colour}" stroke-width="4"/>'
        yield f'<text x="{x + 26}" y="{y + 4}">{escape(name)}</text>'
    for row, (percentile, dash) in enumerate(_DASHES.items()):
        y = bottom + 20 + row * _LINE
        yield f'<path d="M{x} {y}h18" stroke="#333" stroke-width="2" stroke-dasharray="{dash}"/>'
        yield f'<text x="{x + 26}" y="{y + 4}">{_MEANINGS[percentile]}</text>'
