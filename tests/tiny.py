"""Tiny real ONNX models, one per behaviour that a model can show its server."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None]

ELEMENT_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
DATATYPES = tuple(ELEMENT_TYPES)
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
WORDS = ("zero", "one", "zwölf")
SECRET = "secret_lookup"
"""A node's name, which ONNX Runtime puts into the text of its exceptions."""


def identity(datatype: str) -> onnx.ModelProto:
    """x [batch, n] -> y, the same tensor."""
    element = ELEMENT_TYPES[datatype]
    return _model(
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs=[_value("x", element, ["batch", "n"])],
        outputs=[_value("y", element, ["batch", "n"])],
    )


def double() -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y = 2x."""
    return _model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, ["batch", 4])],
        outputs=[_value("y", TensorProto.FLOAT, ["batch", 4])],
    )


def times(factor: float) -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y = factor * x."""
    return _model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, ["batch", 4])],
        outputs=[_value("y", TensorProto.FLOAT, ["batch", 4])],
        initializers=[numpy_helper.from_array(np.full(4, factor, np.float32), "factor")],
    )


def add_sub() -> onnx.ModelProto:
    """a, b INT32 [batch, 16] -> sum, difference; all share the dimension `batch`."""
    return _model(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        inputs=[_value(name, TensorProto.INT32, ["batch", 16]) for name in ("a", "b")],
        outputs=[_value(name, TensorProto.INT32, ["batch", 16]) for name in ("sum", "difference")],
    )


def total(*names: str) -> onnx.ModelProto:
    """Inputs of these names, FP32 [batch, 2] -> total."""
    return _model(
        [helper.make_node("Sum", names, ["total"])],
        inputs=[_value(name, TensorProto.FLOAT, ["batch", 2]) for name in names],
        outputs=[_value("total", TensorProto.FLOAT, ["batch", 2])],
    )


def scalar() -> onnx.ModelProto:
    """x FP32 [] -> y = 2x, a model without any dimension."""
    return _model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, [])],
        outputs=[_value("y", TensorProto.FLOAT, [])],
    )


def fixed() -> onnx.ModelProto:
    """x FP32 [1, 3] -> y = -x; the batch is one and stays so."""
    return _model(
        [helper.make_node("Neg", ["x"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, [1, 3])],
        outputs=[_value("y", TensorProto.FLOAT, [1, 3])],
    )


def reciprocal() -> onnx.ModelProto:
    """x FP32 [batch, n] -> reciprocal = 1/x and log = ln x: infinity at 0, not a number below it."""
    return _model(
        [helper.make_node("Reciprocal", ["x"], ["reciprocal"]), helper.make_node("Log", ["x"], ["log"])],
        inputs=[_value("x", TensorProto.FLOAT, ["batch", "n"])],
        outputs=[_value(name, TensorProto.FLOAT, ["batch", "n"]) for name in ("reciprocal", "log")],
    )


def gather_words() -> onnx.ModelProto:
    """index INT64 [batch] -> word BYTES [batch], out of `WORDS`."""
    words = numpy_helper.from_array(np.array(WORDS, np.object_), "words")
    return _model(
        [helper.make_node("Gather", ["words", "index"], ["word"])],
        inputs=[_value("index", TensorProto.INT64, ["batch"])],
        outputs=[_value("word", TensorProto.STRING, ["batch"])],
        initializers=[words],
    )


def failing() -> onnx.ModelProto:
    """index INT64 [batch] -> row FP32 [batch, 2] of a table of three: any other index fails in the run."""
    return lookup(3)


def lookup(rows: int) -> onnx.ModelProto:
    """The same with so many rows in the table."""
    table = numpy_helper.from_array(np.arange(2 * rows, dtype=np.float32).reshape(rows, 2), "table")
    return _model(
        [helper.make_node("Gather", ["table", "index"], ["row"], name=SECRET)],
        inputs=[_value("index", TensorProto.INT64, ["batch"])],
        outputs=[_value("row", TensorProto.FLOAT, ["batch", 2])],
        initializers=[table],
    )


def sevens() -> onnx.ModelProto:
    """x FP32 [n] -> y FP32 [weeks, 7]: fails for every length that seven does not divide, so for one."""
    shape = numpy_helper.from_array(np.array([-1, 7], dtype=np.int64), "shape")
    return _model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, ["n"])],
        outputs=[_value("y", TensorProto.FLOAT, ["weeks", 7])],
        initializers=[shape],
    )


def flattened() -> onnx.ModelProto:
    """x FP32 [batch, 2, 2] -> y FP32 [batch, 4], in the way exporters write it, which fails for no rows."""
    shape = numpy_helper.from_array(np.array([0, -1], dtype=np.int64), "shape")
    return _model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, ["batch", 2, 2])],
        outputs=[_value("y", TensorProto.FLOAT, ["batch", 4])],
        initializers=[shape],
    )


def repeated() -> onnx.ModelProto:
    """x FP32 [batch, n] -> y FP32 [batch, 2n], each row twice side by side: the size of y's second axis has no name."""
    return _model(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=1)],
        inputs=[_value("x", TensorProto.FLOAT, ["batch", "n"])],
        outputs=[_value("y", TensorProto.FLOAT, ["batch", None])],
    )


def weighted(zipmap: bool = False) -> onnx.ModelProto:
    """x FP32 [batch, 2] -> y = x @ w for w = [[1, 2], [3, 4]]; with a ZipMap y is a map of "a" and "b" per row."""
    weights = numpy_helper.from_array(np.array([[1, 2], [3, 4]], dtype=np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores" if zipmap else "y"])]
    output = _value("y", TensorProto.FLOAT, ["batch", 2])
    if zipmap:
        names = {"classlabels_strings": ["a", "b"], "domain": "ai.onnx.ml"}
        nodes.append(helper.make_node("ZipMap", ["scores"], ["y"], **names))
        value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        map_type = helper.make_map_type_proto(TensorProto.STRING, value)
        output = helper.make_value_info("y", helper.make_sequence_type_proto(map_type))
    return _model(nodes, [_value("x", TensorProto.FLOAT, ["batch", 2])], [output], [weights])


def flowers() -> onnx.ModelProto:
    """x FP32 [batch, 2] -> scores FP32 [batch, 3] = x @ w: for x = [1.4, 0.2] the first is 0.98 and the others 0.3."""
    weights = np.array([[0.7, 0.2, 0.2], [0, 0.1, 0.1]], np.float32)
    return _model(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])],
        inputs=[_value("x", TensorProto.FLOAT, ["batch", 2])],
        outputs=[_value("scores", TensorProto.FLOAT, ["batch", 3])],
        initializers=[numpy_helper.from_array(weights, "w")],
    )


def constant() -> onnx.ModelProto:
    """No input at all -> y FP32 [2] = 1, 2."""
    return _model(
        [helper.make_node("Identity", ["c"], ["y"])],
        inputs=[],
        outputs=[_value("y", TensorProto.FLOAT, [2])],
        initializers=[numpy_helper.from_array(np.array([1, 2], dtype=np.float32), "c")],
    )


def unknown_rank() -> onnx.ModelProto:
    """x FP32 of any rank -> y = -x."""
    return _model(
        [helper.make_node("Neg", ["x"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, None)],
        outputs=[_value("y", TensorProto.FLOAT, None)],
    )


def two_free() -> onnx.ModelProto:
    """a FP32 [rows], b FP32 [columns] -> outer FP32 [rows, columns]: the lengths are independent."""
    axes = {
        "after": numpy_helper.from_array(np.array([1], dtype=np.int64), "after"),
        "before": numpy_helper.from_array(np.array([0], dtype=np.int64), "before"),
    }
    return _model(
        [
            helper.make_node("Unsqueeze", ["a", "after"], ["column"]),
            helper.make_node("Unsqueeze", ["b", "before"], ["row"]),
            helper.make_node("Mul", ["column", "row"], ["outer"]),
        ],
        inputs=[_value("a", TensorProto.FLOAT, ["rows"]), _value("b", TensorProto.FLOAT, ["columns"])],
        outputs=[_value("outer", TensorProto.FLOAT, ["rows", "columns"])],
        initializers=list(axes.values()),
    )


def sequence_output() -> onnx.ModelProto:
    """x FP32 [batch] -> y, a sequence of tensors: nothing that the protocol could carry."""
    return _model(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        inputs=[_value("x", TensorProto.FLOAT, ["batch"])],
        outputs=[helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ["batch"])],
    )


def bfloat16() -> onnx.ModelProto:
    """x BF16 [batch, n] -> y, the same: a datatype that ONNX Runtime's Python binding cannot feed."""
    return _model(
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs=[_value("x", TensorProto.BFLOAT16, ["batch", "n"])],
        outputs=[_value("y", TensorProto.BFLOAT16, ["batch", "n"])],
    )


def loop() -> onnx.ModelProto:
    """trips INT64 [1] -> turned INT64 [1], the same number, counted one by one: 1 us each."""
    scalars = {"i": TensorProto.INT64, "going": TensorProto.BOOL, "count": TensorProto.INT64}
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["goes_on"]), helper.make_node("Add", ["count", "one"], ["next"])],
        "body",
        inputs=[_value(name, element, []) for name, element in scalars.items()],
        outputs=[_value("goes_on", TensorProto.BOOL, []), _value("next", TensorProto.INT64, [])],
    )
    return _model(
        [
            helper.make_node("Loop", ["trips", "", "zero"], ["count"], body=body),
            helper.make_node("Reshape", ["count", "shape"], ["turned"]),
        ],
        inputs=[_value("trips", TensorProto.INT64, [1])],
        outputs=[_value("turned", TensorProto.INT64, [1])],
        initializers=[_integers("zero", 0), _integers("one", 1), _integers("shape", [1])],
    )


def crowd() -> onnx.ModelProto:
    """boxes INT64 [1] -> kept INT64 [1], the same number, once each box was held against each: 2 ns a pair.

    All in one operator, which ONNX Runtime cannot interrupt.
    """
    constants = {
        **{"zero": _integers("zero", 0), "one": _integers("one", 1), "first": _integers("first", [0])},
        **{"front": _integers("front", [0, 1]), "ends": _integers("ends", [0, 2])},
    }
    floats = {"nothing": [0, 0, 0, 0], "box": [0, 0, 1, 1], "overlap": [1]}
    constants |= {name: numpy_helper.from_array(np.array(given, np.float32), name) for name, given in floats.items()}
    return _model(
        [
            helper.make_node("Squeeze", ["boxes"], ["size"]),
            helper.make_node("Range", ["zero", "size", "one"], ["numbers"]),
            helper.make_node("Cast", ["numbers"], ["ranks"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["ranks", "front"], ["scores"]),
            helper.make_node("Unsqueeze", ["ranks", "ends"], ["column"]),
            helper.make_node("Mul", ["column", "nothing"], ["nowhere"]),
            helper.make_node("Add", ["nowhere", "box"], ["places"]),
            helper.make_node("NonMaxSuppression", ["places", "scores", "boxes", "overlap"], ["selected"]),
            helper.make_node("Shape", ["selected"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["kept"]),
        ],
        inputs=[_value("boxes", TensorProto.INT64, [1])],
        outputs=[_value("kept", TensorProto.INT64, [1])],
        initializers=list(constants.values()),
    )


def zipmap_int() -> onnx.ModelProto:
    """scikit-learn's default export of a classifier of integers: x FP32 [-1, 2] -> label, a map per row."""
    return _classifier([0, 0, 1, 1])


def zipmap_string() -> onnx.ModelProto:
    """The same for a classifier of strings."""
    return _classifier(["cold", "cold", "warm", "warm"])


def servable() -> dict[str, onnx.ModelProto]:
    """The models that every client of a plain OIP server may ask for, by name."""
    identities = {f"identity_{datatype.lower()}": identity(datatype) for datatype in DATATYPES}
    builders = (double, add_sub, scalar, fixed, reciprocal, gather_words, failing, two_free)
    return identities | {build.__name__: build() for build in builders}


def write(model: onnx.ModelProto, root: Path, name: str, version: int | str = 1) -> Path:
    """Put the model into the repository at `root`; return the path of its file."""
    path = root / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, path)
    return path


def write_with_weights_outside(model: onnx.ModelProto, root: Path, name: str) -> Path:
    """The same, with every constant in a file `weights.bin` beside the model's own."""
    path = write(model, root, name)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def repository(root: Path, **models: onnx.ModelProto) -> Path:
    """Put each model into the repository at `root` as its version 1; return `root`."""
    for name, model in models.items():
        write(model, root, name)
    return root


def _value(name: str, element: int, shape: Shape | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def _integers(name: str, value: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.int64), name)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return helper.make_model(graph, ir_version=8, opset_imports=OPSETS)


def _classifier(labels: Sequence[int] | Sequence[str]) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LogisticRegression

    rows = np.array([[0, 0], [0, 1], [4, 4], [4, 5]], dtype=np.float32)
    model: onnx.ModelProto = convert_sklearn(
        LogisticRegression().fit(rows, labels),
        initial_types=[("x", FloatTensorType([None, 2]))],
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    model.ir_version = 8
    return model
