"""A library of custom operators, compiled from `operators.c`, and a model that needs it."""

import shutil
import subprocess
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

COMPILER = shutil.which("cc")
needs_a_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler to make a library with")


def build(file: Path, factor: float = 2) -> Path:
    """A library whose operator tests:Times multiplies by `factor`; put in the place of another in one step."""
    assert COMPILER
    source, draft = Path(__file__).with_suffix(".c"), file.with_suffix(".draft")
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-w", "-std=gnu11", f"-DFACTOR={factor}", "-o", draft, source], check=True
    )
    draft.rename(file)
    return file


def times() -> onnx.ModelProto:
    """x FP32 [batch, 4] -> y = x times what the library says."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Times", ["x"], ["y"], domain="tests")], "times", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("tests", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)
