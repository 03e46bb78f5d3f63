"""Train the bundled digits model and write its export and golden samples: `python models/digits/train.py`.

The data are scikit-learn's digits: real scans, 8x8, grey values 0..16. The model takes the raw grey values,
so that a caller needs to know nothing of the scaling.

The graph is built by hand from the trained weights: Gemm, Relu, Gemm, Softmax, ArgMax. skl2onnx's export of
such a network behind a scaler has fifteen nodes: it scales in nodes of its own, splits each layer into MatMul
and Add, and gathers the label from a table of classes by a chain of casts and reshapes. Measured in ONNX
Runtime, a run of one scan takes 7 us by hand and 9 us by skl2onnx, a run of 128 scans 23 us and 30 us.

Nothing is written unless the held-out accuracy is above 0.97 and ONNX Runtime agrees with scikit-learn. Two
runs on one machine write the same bytes.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits

# ONNX Runtime's import starts a telemetry thread unless it is told not to beforehand.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

VERSION = Path(__file__).resolve().parent / "1"
SEED = 42
WHITEST = 16
MIN_ACCURACY = 0.97
TOLERANCE = 1e-5

# Old enough for runtimes of 2022; nothing in the graph needs more.
OPSET = 17
IR_VERSION = 8

# Positions in the held-out part: scans that anyone reads at once, so that a golden sample is also an example.
GOLDENS = {"five.json": [0], "four-digits.json": [5, 6, 10, 28]}

Pixels = NDArray[np.float32]
Labels = NDArray[np.int64]
Outputs = tuple[Labels, NDArray[np.float32]]


def split_digits() -> tuple[Pixels, Pixels, Labels, Labels]:
    """Return training pixels, held-out pixels, training labels, held-out labels; always the same split."""
    pixels, labels = load_digits(return_X_y=True)
    train_pixels, test_pixels, train_labels, test_labels = train_test_split(
        pixels.astype(np.float32), labels, test_size=0.2, stratify=labels, random_state=SEED
    )
    return train_pixels, test_pixels, train_labels, test_labels


def scale(pixels: Pixels) -> NDArray[np.float64]:
    # One divisor for all pixels, not one per pixel: those at the rim are nearly always blank, and a divisor
    # of their own would blow up a stray dot there. float64 makes scikit-learn train in float64.
    return pixels.astype(np.float64) / WHITEST


def train(pixels: Pixels, labels: Labels) -> Pipeline:
    classifier = MLPClassifier(hidden_layer_sizes=(64,), alpha=0.01, max_iter=500, random_state=SEED)
    # How threads share a matrix product decides its rounding: one thread, the same weights each time.
    with threadpool_limits(limits=1):
        return make_pipeline(FunctionTransformer(scale), classifier).fit(pixels, labels)


def weights(classifier: MLPClassifier) -> list[TensorProto]:
    """Return the four initialisers, scaling folded into the first (exactly: WHITEST is a power of two)."""
    hidden, output = classifier.coefs_
    hidden_bias, output_bias = classifier.intercepts_
    arrays = {
        "hidden_weight": hidden / WHITEST,
        "hidden_bias": hidden_bias,
        "output_weight": output,
        "output_bias": output_bias,
    }
    return [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]


def build(classifier: MLPClassifier) -> onnx.ModelProto:
    """Build the graph: image FP32[batch,64] to label INT64[batch] and probabilities FP32[batch,10]."""
    nodes = [
        helper.make_node("Gemm", ["image", "hidden_weight", "hidden_bias"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["activated"]),
        helper.make_node("Gemm", ["activated", "output_weight", "output_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        # Of the probabilities, not the logits: the label is then the largest of the numbers the caller sees.
        # The classes are 0..9 in order, so the position is the label.
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 64])
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "digits", [image], [label, probabilities], weights(classifier))
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="onnicorn")
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: bytes, pixels: Pixels) -> Outputs:
    """Run the export in ONNX Runtime on the CPU; return label and probabilities."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    label, probabilities = session.run(["label", "probabilities"], {"image": pixels})
    return label, probabilities


def check(pipeline: Pipeline, model: bytes, pixels: Pixels, labels: Labels) -> None:
    """Exit with the reason unless the export is accurate enough and agrees with scikit-learn."""
    found, probabilities = run(model, pixels)
    accuracy = float((found == labels).mean())
    difference = float(np.abs(probabilities - pipeline.predict_proba(pixels)).max())
    print(f"held-out accuracy: {accuracy:.4f} of {len(labels)} scans")
    print(f"largest difference from scikit-learn's probabilities: {difference:.1e}")
    if not accuracy > MIN_ACCURACY:
        raise SystemExit(f"held-out accuracy: expected above {MIN_ACCURACY}, got {accuracy:.4f}")
    if not difference < TOLERANCE:
        raise SystemExit(f"difference from scikit-learn: expected below {TOLERANCE}, got {difference:.1e}")


def tensor_text(name: str, datatype: str, values: NDArray[Any], per_line: int) -> str:
    """Write one tensor of the Open Inference Protocol, `per_line` numbers to a line."""
    # str() of a numpy scalar is the shortest text that reads back as the same float32.
    numbers = [str(value) for value in values.ravel()]
    width = max(map(len, numbers))
    lines = [
        "      " + ", ".join(number.rjust(width) for number in numbers[start : start + per_line])
        for start in range(0, len(numbers), per_line)
    ]
    head = json.dumps({"name": name, "shape": values.shape, "datatype": datatype})
    return f'    {head[:-1]}, "data": [\n' + ",\n".join(lines) + "\n    ]}"


def golden_text(pixels: Pixels, outputs: Outputs) -> str:
    """Write one golden sample; eight grey values to a line show the scan."""
    label, probabilities = outputs
    image = tensor_text("image", "FP32", pixels.astype(np.int64), per_line=8)
    results = [
        tensor_text("label", "INT64", label, per_line=10),
        tensor_text("probabilities", "FP32", probabilities, per_line=5),
    ]
    fields = [
        f'  "inputs": [\n{image}\n  ]',
        '  "outputs": [\n' + ",\n".join(results) + "\n  ]",
        f'  "tolerance": {TOLERANCE}',
    ]
    return "{\n" + ",\n".join(fields) + "\n}\n"


def golden(model: bytes, pixels: Pixels, labels: Labels, positions: Sequence[int]) -> str:
    chosen = pixels[positions]
    outputs = run(model, chosen)
    # A misread scan would make a true golden sample but a poor example.
    if not np.array_equal(outputs[0], labels[positions]):
        raise SystemExit(f"golden scans: expected {labels[positions]}, got {outputs[0]}")
    return golden_text(chosen, outputs)


def main() -> None:
    train_pixels, pixels, train_labels, labels = split_digits()
    pipeline = train(train_pixels, train_labels)
    model = build(pipeline[-1]).SerializeToString(deterministic=True)
    check(pipeline, model, pixels, labels)
    # All texts before the first write: a failure leaves the old version whole.
    goldens = {name: golden(model, pixels, labels, positions) for name, positions in GOLDENS.items()}
    (VERSION / "golden").mkdir(parents=True, exist_ok=True)
    (VERSION / "model.onnx").write_bytes(model)
    for name, text in goldens.items():
        (VERSION / "golden" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
