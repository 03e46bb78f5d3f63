"""A picture of one digit in, the digit out: made 8x8 and grey as the scans are that the model was trained with."""

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps
from pydantic import Base64Bytes, BaseModel, Field

from service.engine.transform import BadInstance

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg"}
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # Pillow's ways to say so
MOST_PIXELS = 1 << 22  # a small file may be a huge picture
FAINTEST = 64  # what differs by less from the paper at the rim is dust and shadow, of 255
WHITEST = 16
SCAN = 8


class Picture(BaseModel):
    image: Base64Bytes = Field(description="A PNG or JPEG of one digit, dark on light or light on dark.")


class Digit(BaseModel):
    digit: int
    probability: float


class Digits:
    Instance = Picture
    Prediction = Digit
    media_types = tuple(FORMATS.values())

    def read(self, body: bytes, media_type: str) -> Picture:
        return Picture.model_construct(image=body)

    def before(self, instances: Sequence[Picture]) -> Mapping[str, np.ndarray]:
        scans = [scan(opened(instance.image, index), index) for index, instance in enumerate(instances)]
        return {"image": np.stack(scans)}

    def after(self, outputs: Mapping[str, np.ndarray]) -> Sequence[Digit]:
        return [Digit(digit=row.argmax(), probability=row.max()) for row in outputs["probabilities"]]


def opened(content: bytes, index: int) -> Image.Image:
    """Grey, upright and on white paper, however it came."""
    try:
        image = Image.open(BytesIO(content), formats=tuple(FORMATS))
        if image.width * image.height > MOST_PIXELS:
            raise BadInstance(f"image: expected at most {MOST_PIXELS} pixels, got {image.width}x{image.height}", index)
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    except UNREADABLE as error:
        raise BadInstance("image: expected a PNG or JPEG, got something that is none or is damaged", index) from error
    return Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("L")


def scan(image: Image.Image, index: int) -> np.ndarray:
    """The digit, bright on black, as high as the scan and in its middle: 64 grey values from 0 to 16."""
    grey = np.asarray(image, np.float32)
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(rim))
    rows, columns = np.nonzero(ink > FAINTEST)
    if not len(rows):
        raise BadInstance("image: expected a digit, got an empty sheet", index)
    digit = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = digit.shape
    size = max(height, width)
    square = Image.new("F", (size, size))
    square.paste(Image.fromarray(digit * (WHITEST / digit.max())), ((size - width) // 2, (size - height) // 2))
    return np.asarray(square.resize((SCAN, SCAN), Image.Resampling.BOX), np.float32).reshape(-1)
