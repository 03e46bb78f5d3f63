"""Draw the sample pictures anew, from two of the bundled model's scans: `.venv/bin/python examples/images/draw.py`."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
SCANS = HERE.parent.parent / "models/digits/1/golden"
WHITEST = 16


def drawn(file: str, number: int, size: int) -> Image.Image:
    """One scan of a golden sample, light on dark and `size` pixels high."""
    (tensor,) = json.loads((SCANS / file).read_text())["inputs"]
    scan = np.array(tensor["data"]).reshape(-1, 8, 8)[number]
    grey = Image.fromarray((scan * (255 / WHITEST)).astype(np.uint8))
    return grey.resize((size, size), Image.Resampling.BICUBIC)


def main() -> None:
    folder = HERE / "samples"
    folder.mkdir(exist_ok=True)
    # Pencil on a sheet of paper, somewhere in a corner, and chalk on a board.
    paper = Image.new("L", (160, 120), 255)
    paper.paste(drawn("five.json", 0, 64).point(lambda grey: 255 - grey), (80, 40))
    paper.save(folder / "five.png", optimize=True)
    drawn("four-digits.json", 3, 96).save(folder / "three.jpg", quality=80)


if __name__ == "__main__":
    main()
