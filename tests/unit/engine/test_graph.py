"""What a model file says of itself, read without loading it."""

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from service.engine.graph import Facts, Graph, Summary
from service.errors import RepositoryError
from tests import tiny


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RepositoryError) as caught:
        call()
    return str(caught.value)


def outside(location: str) -> onnx.TensorProto:
    """A constant whose numbers lie in another file."""
    tensor = TensorProto(name=location, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value="elsewhere")
    return tensor


def facts(file: Path) -> Facts:
    return Graph(file).facts()


def scattered(root: Path, *locations: str) -> Path:
    """A model that keeps constants in these files: as a weight, in a node, and in the branches of an If."""
    graphs = [helper.make_graph([], "empty", [], [], [outside(location)]) for location in locations[2:]]
    nodes = [
        helper.make_node("Constant", [], ["c"], value=outside(locations[min(1, len(locations) - 1)])),
        helper.make_node("If", ["c"], ["y"], **dict(zip(("then_branch", "else_branch"), graphs, strict=False))),
    ]
    graph = helper.make_graph(nodes, "scattered", [], [], [outside(locations[0])])
    return tiny.write(helper.make_model(graph), root, "scattered")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not a model", "is not an ONNX model: it cannot be parsed; export it again"),
        (b"", "is not an ONNX model: it has no graph; export it again"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    assert refusal(lambda: Graph(file)) == f"{file} {sentence}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "is not a regular file: copy a file there"), ("none", "cannot be read: No such file or directory")],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    assert refusal(lambda: Graph(tmp_path / name)) == f"{tmp_path / name} {reason}"


def test_a_model_is_written_as_it_was_read(tmp_path: Path) -> None:
    for name, model in tiny.servable().items():
        assert onnx.load_from_string(Graph(tiny.write(model, tmp_path, name)).without_zipmaps()) == model


def test_a_plain_model_says_what_it_is_made_of_and_no_more(tmp_path: Path) -> None:
    assert facts(tiny.write(tiny.add_sub(), tmp_path, "model")) == Facts(operators=frozenset({"Add", "Sub"}))


def test_a_file_says_what_people_ask_of_it(tmp_path: Path) -> None:
    model = tiny.times(3)
    model.producer_name, model.producer_version = "trainer", "1.2"
    summary = Graph(tiny.write(model, tmp_path, "times")).summary()
    assert summary == Summary(
        ir_version=model.ir_version,
        producer="trainer 1.2",
        opsets={"ai.onnx": 17, "ai.onnx.ml": 3},
        operators={"Mul": 1},
        parameters=4,
    )


def test_weights_of_inner_graphs_count_too(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).touch()
    summary = Graph(scattered(tmp_path, *"abcd")).summary()
    assert (summary.operators, summary.parameters) == ({"Constant": 1, "If": 1}, 3)


def test_operators_are_found_in_inner_graphs_too(tmp_path: Path) -> None:
    inner = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "inner", [], [])
    outer = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=inner)], "outer", [], [])
    assert facts(tiny.write(helper.make_model(outer), tmp_path, "model")).operators == {"If", "Neg"}


def test_files_outside_are_found_wherever_a_constant_may_be(tmp_path: Path) -> None:
    file = scattered(tmp_path, "z", "y", "x", "deep/w")
    (file.parent / "deep").mkdir()
    files = [file.parent / name for name in ("deep/w", "x", "y", "z")]
    for weights in files:
        weights.touch()
    assert facts(file).external_files == tuple(files)


def test_a_file_outside_is_listed_once(tmp_path: Path) -> None:
    file = scattered(tmp_path, "w", "w", "w")
    (file.parent / "w").touch()
    assert facts(file).external_files == (file.parent / "w",)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    file = tiny.write_with_weights_outside(tiny.weighted(), tmp_path, "weighted")
    assert facts(file).external_files == (file.parent / "weights.bin",)
    (file.parent / "weights.bin").unlink()
    assert refusal(lambda: facts(file)) == (
        f"{file} keeps weights in 'weights.bin', which is missing: copy it beside the model"
    )


@pytest.mark.parametrize("location", ["/etc/hostname", "../w", "a/../../w", ".."])
def test_a_file_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    file = scattered(tmp_path, location)
    assert refusal(lambda: facts(file)) == f"{file} keeps weights in {location!r}: expected a file beside the model"


@pytest.mark.parametrize(
    ("model", "names"), [(tiny.unknown_rank(), {"x", "y"}), (tiny.scalar(), set()), (tiny.double(), set())]
)
def test_an_open_rank_is_no_scalar(tmp_path: Path, model: onnx.ModelProto, names: set[str]) -> None:
    assert facts(tiny.write(model, tmp_path, "model")).open_ranks == names


@pytest.mark.parametrize(
    ("model", "output", "keys"),
    [
        (tiny.zipmap_int(), "output_probability", ("0", "1")),
        (tiny.zipmap_string(), "output_probability", ("cold", "warm")),
        (tiny.weighted(zipmap=True), "y", ("a", "b")),
    ],
)
def test_a_zipmap_becomes_the_tensor_that_went_into_it(
    tmp_path: Path, model: onnx.ModelProto, output: str, keys: tuple[str, ...]
) -> None:
    graph = Graph(tiny.write(model, tmp_path, "model"))
    assert graph.facts().labels == {output: keys}
    edited = onnx.load_from_string(graph.without_zipmaps())
    onnx.checker.check_model(edited)
    [value] = [value for value in edited.graph.output if value.name == output]
    assert value == helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, len(keys)])
    assert [node.op_type for node in edited.graph.node if output in node.output] == ["Identity"]


def test_a_zipmap_inside_stays(tmp_path: Path) -> None:
    model = tiny.weighted(zipmap=True)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2]))
    graph = Graph(tiny.write(model, tmp_path, "model"))
    assert graph.facts().labels == {}
    assert onnx.load_from_string(graph.without_zipmaps()) == model


@pytest.mark.parametrize("location", ["*/_ORT_MEM_ADDR_/*", "a\0b"])
def test_a_place_that_is_no_files_name_is_refused(tmp_path: Path, location: str) -> None:
    """The first is ONNX Runtime's own mark for an address in memory; a file of that name could be made, too."""
    file = scattered(tmp_path, location)
    (file.parent / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (file.parent / "*" / "_ORT_MEM_ADDR_" / "*").touch()
    assert refusal(lambda: facts(file)) == f"{file} keeps weights in {location!r}: expected a file beside the model"


def sparse(location: str) -> onnx.SparseTensorProto:
    made = onnx.SparseTensorProto(dims=[1])
    made.values.CopyFrom(outside(f"{location}-values"))
    made.indices.CopyFrom(outside(f"{location}-indices"))
    return made


def hidden() -> onnx.ModelProto:
    """External weights in all places where a graph may have constants."""
    inner = helper.make_graph(
        [], "inner", [], [], [outside("in-graph")], sparse_initializer=[sparse("in-graph-sparse")]
    )
    node = helper.make_node("Constant", [], ["c"], sparse_value=sparse("attribute-sparse"))
    node.attribute.add(name="tensors", type=onnx.AttributeProto.TENSORS).tensors.append(outside("attribute-tensors"))
    many = node.attribute.add(name="sparse", type=onnx.AttributeProto.SPARSE_TENSORS)
    many.sparse_tensors.append(sparse("attribute-sparse-tensors"))
    node.attribute.add(name="graphs", type=onnx.AttributeProto.GRAPHS).graphs.append(inner)
    constant = helper.make_node("Constant", [], ["c"], value=outside("in-function"))
    function = helper.make_function("mine", "F", [], ["c"], [constant], [helper.make_opsetid("", 17)])
    graph = helper.make_graph([node], "hidden", [], [], sparse_initializer=[sparse("sparse")])
    return helper.make_model(graph, functions=[function])


def test_files_outside_are_found_in_sparse_tensors_and_functions_too(tmp_path: Path) -> None:
    file = tiny.write(hidden(), tmp_path, "hidden")
    pairs = ("attribute-sparse", "attribute-sparse-tensors", "in-graph-sparse", "sparse")
    names = {"attribute-tensors", "in-function", "in-graph"} | {
        f"{a}-{b}" for a in pairs for b in ("values", "indices")
    }
    for name in names:
        (file.parent / name).touch()
    assert {weights.name for weights in facts(file).external_files} == names


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_weights_that_are_no_file_are_missing(tmp_path: Path, kind: str) -> None:
    file = scattered(tmp_path, "w")
    if kind == "pipe":
        os.mkfifo(file.parent / "w")
    else:
        (file.parent / "w").mkdir()
    assert refusal(lambda: facts(file)) == f"{file} keeps weights in 'w', which is missing: copy it beside the model"


def test_weights_behind_a_link_lie_in_the_models_folder(tmp_path: Path) -> None:
    file = scattered(tmp_path, "w")
    (file.parent / "..data").mkdir()
    (file.parent / "..data" / "w").touch()
    (file.parent / "w").symlink_to("..data/w")
    assert facts(file).external_files == (file.parent / "w",)
    (file.parent / "w").unlink()
    (file.parent / "w").symlink_to("/etc/hostname")
    assert refusal(lambda: facts(file)) == (
        f"{file} keeps weights in 'w', a link that leads out of the model's folder to /etc/hostname, where ONNX "
        "Runtime does not follow it: copy the file there"
    )


def test_a_linked_folder_of_weights_is_followed_no_further(tmp_path: Path) -> None:
    file = scattered(tmp_path, "etc/hostname")
    (file.parent / "etc").symlink_to("/etc")
    assert "a link that leads out of the model's folder to /etc/hostname" in refusal(lambda: facts(file))


def test_operators_that_nobody_defines_are_told_by_their_domain(tmp_path: Path) -> None:
    nodes = [
        helper.make_node(kind, ["x"], ["y"], domain=domain)
        for domain, kind in (
            *(("b", "Q"), ("b", "P"), ("b", "Q"), ("a", "P"), ("mine", "F"), ("mine", "G")),
            *(("", "Neg"), ("ai.onnx", "Neg"), ("ai.onnx.ml", "Scaler"), ("com.microsoft", "Gelu")),
        )
    ]
    function = helper.make_function(
        "mine", "F", ["x"], ["y"], [helper.make_node("R", ["x"], ["y"], domain="b")], [helper.make_opsetid("", 17)]
    )
    model = helper.make_model(helper.make_graph(nodes, "foreign", [], []), functions=[function])
    assert facts(tiny.write(model, tmp_path, "model")).foreign == {"a": ("P",), "b": ("P", "Q", "R"), "mine": ("G",)}


def test_code_for_a_device_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", embed_mode=0, ep_cache_context="/x.so")
    inner = helper.make_graph([node], "inner", [], [])
    outer = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=inner)], "outer", [], [])
    file = tiny.write(helper.make_model(outer), tmp_path, "model")
    assert refusal(lambda: facts(file)) == (
        f"{file} holds code that was compiled for a device: export it as a plain graph"
    )


def test_a_graph_is_made_of_what_was_read(tmp_path: Path) -> None:
    content = tiny.double().SerializeToString()
    assert Graph(tmp_path / "gone.onnx", content).facts() == Facts(operators=frozenset({"Add"}))
