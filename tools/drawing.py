"""Draws the floors of a house as SVG: on each its rooms, and beside them the stairs, with how many steps lead where."""

from collections.abc import Iterator, Mapping
from typing import Final

Floors = Mapping[int, tuple[str, Mapping[str, int]]]
"""By number: the title, and each room with how many modules are in it."""

_WIDTH: Final = 1080
_LEFT: Final = 56
_RIGHT: Final = 760
"""Where the rooms begin and end; the stairs are to the right of them."""
_STEP: Final = 60
_TITLE: Final = 26
_GAP: Final = 8
_MODULE: Final = 26
_PACKAGE: Final = 46
_LETTER: Final = 8.4
"""The width of a letter of 13 px, as much as can be told without a font."""

_STYLE: Final = """
  text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1d2733 }
  .small { font-size: 11px; fill: #55626f }
  .number { font-size: 22px; font-weight: 600; fill: #55626f }
  .name { font-weight: 600 }
  .floor { fill: #f2f5f8 }
  .room { fill: #ffffff; stroke: #b6c2ce }
  .package { fill: #e3eefb; stroke: #5b8fcb }
  .stair { stroke: #5b8fcb; fill: none }
  .landing { fill: #ffffff; stroke: #5b8fcb }
  .head { fill: #5b8fcb }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small, .number { fill: #9aa7b4 }
    .floor { fill: #161b22 }
    .room { fill: #0d1117; stroke: #3d4752 }
    .package { fill: #12263d; stroke: #4f86c6 }
    .landing { fill: #0d1117 }
  }"""


def draw(floors: Floors, stairs: Mapping[tuple[int, int], int]) -> str:
    """The highest floor on top. `stairs` has the count of each pair of floors, from above to below."""
    heights = {floor: _height(rooms) for floor, (_, rooms) in floors.items()}
    tops, top = {}, 40
    for floor, height in heights.items():
        tops[floor] = top
        top += height + _GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 8}" width="{_WIDTH}" role="img" '
        'aria-labelledby="title">',
        f'<title id="title">{_sentence(stairs)}</title>',
        f"<style>{_STYLE}\n</style>",
        f'<text class="small" x="{_RIGHT + 24}" y="16">imports, from the floor with the dot down to:</text>',
    ]
    for floor, (title, rooms) in floors.items():
        lines += _floor(floor, title, rooms, tops[floor], heights[floor])
    middles = {floor: tops[floor] + heights[floor] / 2 for floor in floors}
    for place, floor in enumerate(floors):
        lines += _flight(_RIGHT + 44 + place * _STEP, floor, stairs, middles)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _sentence(stairs: Mapping[tuple[int, int], int]) -> str:
    """For who does not see it."""
    flights = ", ".join(f"{count} from {above} to {below}" for (above, below), count in sorted(stairs.items())[::-1])
    return f"The floors of the service and the imports between them, all of which lead down: {flights}"


def _height(rooms: Mapping[str, int]) -> int:
    return _TITLE + sum(height + _GAP for height in _rows(rooms).values())


def _rows(rooms: Mapping[str, int]) -> dict[int, int]:
    """The height of each row of rooms, by the row's number."""
    heights: dict[int, int] = {}
    for name, (row, _) in _places(rooms).items():
        heights[row] = max(heights.get(row, 0), _room_height(rooms[name]))
    return heights


def _places(rooms: Mapping[str, int]) -> dict[str, tuple[int, float]]:
    """Row and left edge of each room: packages first, then modules, as many side by side as there is room for."""
    places, row, left = {}, 0, float(_LEFT)
    for name in sorted(rooms, key=lambda name: rooms[name] == 1):
        if left + _room_width(name, rooms[name]) > _RIGHT - _GAP:
            row, left = row + 1, float(_LEFT)
        places[name] = (row, left)
        left += _room_width(name, rooms[name]) + _GAP
    return places


def _room_width(name: str, modules: int) -> float:
    return 24 + _LETTER * len(name) if modules == 1 else 120


def _room_height(modules: int) -> int:
    return _MODULE if modules == 1 else _PACKAGE


def _floor(number: int, title: str, rooms: Mapping[str, int], top: float, height: float) -> Iterator[str]:
    yield f'<rect class="floor" x="8" y="{top}" width="{_WIDTH - 16}" height="{height}" rx="6"/>'
    yield f'<text class="number" x="24" y="{top + height / 2 + 8:g}">{number}</text>'
    yield f'<text class="small" x="{_LEFT}" y="{top + 17}">{title}</text>'
    tall = _rows(rooms)
    for name, (row, left) in _places(rooms).items():
        above = top + _TITLE + sum(tall[before] + _GAP for before in range(row))
        yield from _room(name, rooms[name], left, above)


def _room(name: str, modules: int, left: float, top: float) -> Iterator[str]:
    width, height = _room_width(name, modules), _room_height(modules)
    kind = "room" if modules == 1 else "package"
    yield f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{width:g}" height="{height}" rx="4"/>'
    if modules == 1:
        yield f'<text class="name" x="{left + width / 2:g}" y="{top + 18:g}" text-anchor="middle">{name}</text>'
    else:
        yield f'<text class="name" x="{left + 12:g}" y="{top + 18:g}">{name}/</text>'
        yield f'<text class="small" x="{left + 12:g}" y="{top + 35:g}">{modules} modules</text>'


def _flight(x: float, floor: int, stairs: Mapping[tuple[int, int], int], middles: Mapping[int, float]) -> Iterator[str]:
    """From a floor down to each that it imports from: a landing with the count, and an arrow to it."""
    landings = {below: count for (above, below), count in sorted(stairs.items(), reverse=True) if above == floor}
    if not landings:
        return
    most = max(stairs.values())
    before = middles[floor]
    yield f'<circle class="head" cx="{x}" cy="{before:g}" r="6"/>'
    for below, count in landings.items():
        y = middles[below]
        wide = 1.5 + 4 * sum(rest for further, rest in landings.items() if further <= below) / most
        yield f'<line class="stair" x1="{x}" y1="{before:g}" x2="{x}" y2="{y - 18:g}" stroke-width="{wide:.1f}"/>'
        yield f'<path class="head" d="M{x - 6} {y - 20:g}h12l-6 8z"/>'
        yield f'<rect class="landing" x="{x - 20}" y="{y - 12:g}" width="40" height="24" rx="12"/>'
        yield f'<text x="{x}" y="{y + 5:g}" text-anchor="middle">{count}</text>'
        before = y + 12
