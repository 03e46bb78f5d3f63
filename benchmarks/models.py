"""The models that are served: the bundled one, four that are built for the occasion, and a real one if it is there."""

import os
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

DIGITS: Final = Path(__file__).parent.parent / "models" / "digits" / "1" / "model.onnx"
IMAGE: Final = (3, 224, 224)
CLASSES: Final = 1000
GEMM_WIDTH: Final = 1024
HEAVY_WIDTH: Final = 2048
CHAIN_WIDTH: Final = 1024

_PADDING: Final = """
[padding.sequence]
inputs = { input_ids = 0, attention_mask = 0 }
mask = "attention_mask"
"""


def gemms(folder: Path) -> Path:
    """Six layers of 1024 x 1024: a single row is bound by reading 25 MB of weights, so batching pays."""
    return _write(_chain(layers=6, width=GEMM_WIDTH), folder / "gemms.onnx")


def heavy(folder: Path) -> Path:
    """Twenty-four layers of 2048 x 2048: 403 MB of weights, as a file of its own size."""
    return _write(_chain(layers=24, width=HEAVY_WIDTH), folder / "heavy.onnx")


def overload(folder: Path) -> Path:
    """A repository of the tiny model, and of one that takes about 20 ms a run, of one request alone."""
    home = folder / "fast-and-slow"
    (home / "chain" / "1").mkdir(parents=True)
    _write(_chain(layers=200, width=CHAIN_WIDTH, distinct=8), home / "chain" / "1" / "model.onnx")
    (home / "chain" / "model.toml").write_text("batch = false\n")
    shutil.copytree(DIGITS.parent.parent, home / "digits")
    return home


def image(folder: Path) -> Path:
    """A small convolutional net, about 30 ms a picture: x FP32[batch,3,224,224] -> y FP32[batch,1000]."""
    random = np.random.default_rng(0)
    channels = (3, 48, 96, 192, 256, 256)
    nodes, weights = [], []
    for layer, (before, after) in enumerate(pairwise(channels)):
        weights.append(_weight(random, f"w{layer}", (after, before, 3, 3), fan_in=before * 9))
        strides = [2, 2] if layer != 1 else [1, 1]
        nodes.append(helper.make_node("Conv", [f"r{layer}", f"w{layer}"], [f"c{layer}"], strides=strides, pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer + 1}"]))
    nodes[0].input[0] = "x"
    weights.append(_weight(random, "w", (channels[-1], CLASSES), fan_in=channels[-1]))
    nodes += [
        helper.make_node("GlobalAveragePool", [f"r{len(channels) - 1}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "w"], ["y"]),
    ]
    return _write(_model(nodes, weights, IMAGE, (CLASSES,)), folder / "image.onnx")


def sentences() -> Path | None:
    """The sentence transformer in ONNICORN_TEST_MODELS; None where the variable is unset."""
    folder = os.environ.get("ONNICORN_TEST_MODELS")
    return Path(folder) / "minilm" / "model.onnx" if folder else None


def padded_sentences(model: Path, folder: Path) -> Path:
    """A repository of the sentence transformer that says how its texts may be padded to each other's length."""
    home = folder / "sentences" / "minilm"
    (home / "1").mkdir(parents=True)
    shutil.copy(model, home / "1" / "model.onnx")
    (home / "model.toml").write_text(_PADDING)
    return home.parent


def _chain(layers: int, width: int, distinct: int | None = None) -> onnx.ModelProto:
    """So many layers; with `distinct` they share so many weights."""
    random = np.random.default_rng(0)
    names = ["x", *(f"r{layer}" for layer in range(1, layers)), "y"]
    weights = [_weight(random, f"w{layer}", (width, width), fan_in=width) for layer in range(distinct or layers)]
    nodes = []
    for layer, (before, after) in enumerate(pairwise(names)):
        nodes.append(helper.make_node("Gemm", [before, f"w{layer % len(weights)}"], [f"g{layer}"]))
        nodes.append(helper.make_node("Relu", [f"g{layer}"], [after]))
    return _model(nodes, weights, (width,), (width,))


def _weight(random: np.random.Generator, name: str, shape: tuple[int, ...], fan_in: int) -> onnx.TensorProto:
    """Scaled so that numbers neither vanish nor overflow from layer to layer: denormals would slow the run."""
    values: npt.NDArray[np.float32] = random.standard_normal(shape, dtype=np.float32)
    return numpy_helper.from_array(values * np.float32(2 / fan_in) ** 0.5, name)


def _model(
    nodes: Sequence[Any], weights: Sequence[onnx.TensorProto], takes: Sequence[int], gives: Sequence[int]
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *takes])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *gives])
    graph = helper.make_graph(nodes, "benchmark", [x], [y], weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _write(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path
