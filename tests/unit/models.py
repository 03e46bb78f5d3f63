"""Models that only the engine's own tests need: rows that influence each other, answers that differ, axes to pad."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import tiny


def dense(size: int = 64) -> onnx.ModelProto:
    """x FP32 [batch, size] -> y = x @ w + b: weights of several KiB, which are worth a file of their own."""
    random = np.random.default_rng(7)
    return _model(
        [helper.make_node("MatMul", ["x", "w"], ["product"]), helper.make_node("Add", ["product", "b"], ["y"])],
        inputs=[_value("x", ["batch", size])],
        outputs=[_value("y", ["batch", size])],
        initializers=[_constant("w", random.normal(size=(size, size))), _constant("b", random.normal(size=size))],
    )


def chosen() -> onnx.ModelProto:
    """x FP32 [batch, 16], flag BOOL [1] -> y = x @ w, with weights inside the branch or outside of it."""
    random = np.random.default_rng(7)
    outer, inner = (_constant(name, random.normal(size=(16, 16))) for name in ("outer", "inner"))
    branches = {
        "then_branch": helper.make_graph(
            [helper.make_node("MatMul", ["x", "inner"], ["then"])], "then", [], [_value("then", None)], [inner]
        ),
        "else_branch": helper.make_graph(
            [helper.make_node("MatMul", ["x", "outer"], ["else"])], "else", [], [_value("else", None)]
        ),
    }
    return _model(
        [helper.make_node("If", ["flag"], ["y"], **branches)],
        inputs=[_value("x", ["batch", 16]), _value("flag", [1], TensorProto.BOOL)],
        outputs=[_value("y", ["batch", 16])],
        initializers=[outer],
    )


def noisy() -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y, which is another one each time."""
    return _row_model([helper.make_node("RandomNormalLike", ["x"], ["y"])])


def noisy_beyond_one() -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y, which is 0 where x is 0 or 1, and another one each time where it is not."""
    return _row_model(
        [
            helper.make_node("Mul", ["x", "x"], ["square"]),
            helper.make_node("Sub", ["square", "x"], ["zero"]),
            helper.make_node("RandomNormalLike", ["x"], ["noise"]),
            helper.make_node("Mul", ["zero", "noise"], ["y"]),
        ]
    )


def ratio() -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y = x / x: 1, and not a number for 0."""
    return _row_model([helper.make_node("Div", ["x", "x"], ["y"])])


def share() -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y = x / the sum over all rows."""
    return _row_model(
        [
            helper.make_node("ReduceSum", ["x", "rows"], ["sum"]),
            helper.make_node("Div", ["x", "sum"], ["y"]),
        ],
        _constant("rows", [0], np.int64),
    )


def centred() -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y = x - the mean over all rows, as a normalisation that was exported in training mode."""
    return _row_model(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ]
    )


def one_row_only() -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y, the same; the exporter has fixed the rows inside, so that more than one fail."""
    return _row_model(
        [
            helper.make_node("Reshape", ["x", "shape"], ["row"]),
            helper.make_node("Add", ["row", "row"], ["sum"]),
            helper.make_node("Sub", ["sum", "x"], ["y"]),
        ],
        _constant("shape", [1, 4], np.int64),
    )


def masked_mean(covered: bool = True) -> onnx.ModelProto:
    """ids, mask FP32 [batch, sequence] -> mean [batch] of the ids under the mask, and seen [batch, sequence] = ids.

    Not `covered`, the mean is one of all ids.
    """
    return _model(
        [
            helper.make_node("Mul", ["ids", "mask"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "columns"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", ["mask", "columns"], ["count"], keepdims=0),
            helper.make_node("ReduceMean", ["ids"], ["plain"], axes=[1], keepdims=0),
            helper.make_node("Div", ["sum", "count"], ["fair"]),
            helper.make_node("Identity", ["fair" if covered else "plain"], ["mean"]),
            helper.make_node("Identity", ["ids"], ["seen"]),
        ],
        inputs=[_value(name, ["batch", "sequence"]) for name in ("ids", "mask")],
        outputs=[_value("mean", ["batch"]), _value("seen", ["batch", "sequence"])],
        initializers=[_constant("columns", [1], np.int64)],
    )


def up_to_eight() -> onnx.ModelProto:
    """`masked_mean` with a table of eight positions, as transformers have one: it fails for longer sequences."""
    proto = masked_mean()
    [seen] = [node for node in proto.graph.node if node.output[0] == "seen"]
    proto.graph.node.remove(seen)
    proto.graph.initializer.extend(
        [
            _constant("positions", np.zeros(8)),
            _constant("zero", 0, np.int64),
            _constant("one", 1, np.int64),
        ]
    )
    proto.graph.node.extend(
        [
            helper.make_node("Shape", ["ids"], ["shape"]),
            helper.make_node("Gather", ["shape", "one"], ["length"]),
            helper.make_node("Range", ["zero", "length", "one"], ["places"]),
            helper.make_node("Gather", ["positions", "places"], ["table"]),
            helper.make_node("Add", ["ids", "table"], ["seen"]),
        ]
    )
    return proto


def _row_model(nodes: Sequence[onnx.NodeProto], *constants: onnx.TensorProto) -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y of the same shape."""
    return _model(nodes, [_value("x", ["batch", 4])], [_value("y", ["batch", 4])], constants)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "engine", inputs, outputs, initializers)
    return helper.make_model(graph, ir_version=8, opset_imports=tiny.OPSETS)


def _value(name: str, shape: tiny.Shape | None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def _constant(name: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)
