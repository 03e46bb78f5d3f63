"""What the benchmarks send: always the same images, rows and texts."""

from typing import Final

import numpy as np

from benchmarks import models
from benchmarks.session import Array

_SEED: Final = 1


def digits() -> Array:
    """One scan, 8 x 8 grey values."""
    return np.random.default_rng(_SEED).integers(0, 17, (1, 64)).astype(np.float32)


def picture() -> Array:
    """One picture, 150,528 floats."""
    return np.random.default_rng(_SEED).random((1, *models.IMAGE), dtype=np.float32)


def row(width: int = models.GEMM_WIDTH) -> Array:
    return np.random.default_rng(_SEED).random((1, width), dtype=np.float32)


def sentences(count: int) -> list[dict[str, Array]]:
    """Token ids of 8 to 64 per sentence, every length as likely as any other."""
    random = np.random.default_rng(_SEED)
    found = []
    for length in random.integers(8, 65, count):
        ids = random.integers(1000, 30000, (1, length))
        found.append({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return found
