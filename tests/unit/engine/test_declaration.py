"""`model.toml`: its defaults, all that it may say, and what is said of a wrong one."""

from pathlib import Path

import pytest

from service.engine.declaration import (
    Declaration,
    Limits,
    PaddingRule,
    PinnedSignature,
    PinnedTensor,
    SessionOptions,
    WarmUpInput,
)
from service.errors import RepositoryError
from service.tensors import Datatype, Signature, TensorSpec

ALL = """
versions = [1, 2]
default_version = 2
batch = false
inline = true
run_threads = 3
tolerance = 0.5
task = "embeddings"
transform = "cats.dogs:Elk"
providers = ["CPUExecutionProvider"]
warm_up = [{ x = { shape = [1, 4] } }, { x = { shape = [2], data = [1, 2.5] } }]
[limits]
max_rows = 8
batch_rows = 4
[padding.sequence]
inputs = { ids = 1, words = "" }
mask = "ids"
max_waste = 2
[labels]
y = ["no", "yes"]
[session]
intra_op_threads = 2
graph_optimization = "basic"
custom_operators = ["/opt/ops.so"]
config = { "session.intra_op.allow_spinning" = "1" }
[signature]
inputs = [{ name = "x", datatype = "FP32", shape = [-1, 4] }]
outputs = []
"""


def declare(directory: Path, text: str) -> Declaration:
    (directory / "model.toml").write_text(text)
    return Declaration.read(directory)


def test_a_model_need_not_declare_anything(tmp_path: Path) -> None:
    assert Declaration.read(tmp_path) == declare(tmp_path, "") == Declaration()
    assert Declaration().model_dump() == {
        "versions": "latest",
        "default_version": None,
        "batch": True,
        "limits": {"max_rows": None, "batch_rows": None},
        "labels": {},
        "padding": {},
        "inline": None,
        "run_threads": 1,
        "tolerance": 1e-5,
        "providers": (),
        "session": {"intra_op_threads": None, "graph_optimization": "all", "config": {}, "custom_operators": ()},
        "warm_up": (),
        "signature": None,
        "fallback": None,
        "task": None,
        "transform": None,
    }


def test_everything_can_be_declared(tmp_path: Path) -> None:
    assert declare(tmp_path, ALL) == Declaration(
        versions=(1, 2),
        default_version=2,
        batch=False,
        limits=Limits(max_rows=8, batch_rows=4),
        labels={"y": ("no", "yes")},
        padding={"sequence": PaddingRule(inputs={"ids": 1, "words": ""}, mask="ids", max_waste=2)},
        inline=True,
        run_threads=3,
        tolerance=0.5,
        task="embeddings",
        transform="cats.dogs:Elk",
        providers=("CPUExecutionProvider",),
        session=SessionOptions(
            intra_op_threads=2,
            graph_optimization="basic",
            config={"session.intra_op.allow_spinning": "1"},
            custom_operators=("/opt/ops.so",),
        ),
        warm_up=({"x": WarmUpInput(shape=(1, 4))}, {"x": WarmUpInput(shape=(2,), data=[1, 2.5])}),
        signature=PinnedSignature(inputs=(PinnedTensor(name="x", datatype="FP32", shape=(-1, 4)),), outputs=()),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bacth = true", "bacth: Extra inputs are not permitted, got True"),
        ("batch = 2", "batch: Input should be a valid boolean, unable to interpret input, got 2"),
        ("default_version = 0", "default_version: Input should be greater than 0, got 0"),
        ("tolerance = -1", "tolerance: Input should be greater than or equal to 0, got -1"),
        ("[limits]\nmax_rows = 0", "limits.max_rows: Input should be greater than 0, got 0"),
        ("[limits]\nbatch_rows = 0", "limits.batch_rows: Input should be greater than 0, got 0"),
        ("run_threads = 0", "run_threads: Input should be greater than or equal to 1, got 0"),
        (
            "[session]\nintra_op_threads = 257",
            "session.intra_op_threads: Input should be less than or equal to 256, got 257",
        ),
        ("run_threads = 65", "run_threads: Input should be less than or equal to 64, got 65"),
        (
            "transform = 'transform.py'",
            'transform: expected "package.module:Class"; a transform.py here need not be declared, '
            "got 'transform.py'",
        ),
        (
            "[padding.n]\ninputs = { x = 0 }\nmask = 'x'\nmax_waste = 1",
            "padding.n.max_waste: Input should be greater than 1, got 1",
        ),
        ("[padding.n]\ninputs = { x = 0 }", "padding.n.mask: Field required, got {'inputs': {'x': 0}}"),
        (
            "warm_up = [{ x = { shape = [-1] } }]",
            "warm_up.0.x.shape.0: Input should be greater than or equal to 0, got -1",
        ),
        (
            "warm_up = [{ x = { shape = [16384, 16385] } }]",
            "warm_up.0.x.shape: an input to warm up with has at most 2**28 elements, got [16384, 16385]",
        ),
        (
            "batch = 2\n[limits]\nmax_row = 1",
            "batch: Input should be a valid boolean, unable to interpret input, got 2; "
            "limits.max_row: Extra inputs are not permitted, got 1",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(RepositoryError) as caught:
        declare(tmp_path, text)
    assert str(caught.value) == f"{tmp_path}/model.toml: {sentence}"


@pytest.mark.parametrize("content", [b"batch", b"name = '\xff'", b"a = " + b"[" * 10_000, b"a = " + b"9" * 5000])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.toml"
    file.write_bytes(content)
    with pytest.raises(RepositoryError, match=f"^{file} cannot be read: .+"):
        Declaration.read(tmp_path)


def pinned(name: str, datatype: str, *shape: int) -> PinnedTensor:
    return PinnedTensor(name=name, datatype=datatype, shape=shape)


X = TensorSpec("x", Datatype.FP32, (-1, 4), ("batch", ""))
Y = TensorSpec("y", Datatype.INT64, (-1,), ("batch",), ("no", "yes"))
SIGNATURE = Signature((X,), (Y, TensorSpec("z", Datatype.BYTES, ())))
PINNED_X = pinned("x", "FP32", -1, 4)
PINNED_Y = pinned("y", "INT64", -1)
PINNED_Z = pinned("z", "BYTES")


def test_a_signature_that_is_as_pinned_has_no_difference() -> None:
    assert PinnedSignature(inputs=(PINNED_X,), outputs=(PINNED_Y, PINNED_Z)).difference(SIGNATURE) is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "sentence"),
    [
        ((pinned("x", "FP64", -1, 4),), (PINNED_Y, PINNED_Z), "inputs x: FP64[-1,4], the model has x: FP32[-1,4]"),
        ((pinned("X", "FP32", -1, 4),), (PINNED_Y, PINNED_Z), "inputs X: FP32[-1,4], the model has x: FP32[-1,4]"),
        ((pinned("x", "FP32", 1, 4),), (PINNED_Y, PINNED_Z), "inputs x: FP32[1,4], the model has x: FP32[-1,4]"),
        ((), (PINNED_Y,), "inputs , the model has x: FP32[-1,4]"),
        ((PINNED_X,), (PINNED_Y,), "outputs y: INT64[-1], the model has y: INT64[-1]; z: BYTES[]"),
        (
            (PINNED_X,),
            (PINNED_Z, PINNED_Y),
            "outputs z: BYTES[]; y: INT64[-1], the model has y: INT64[-1]; z: BYTES[]",
        ),
    ],
)
def test_the_first_side_that_differs_is_described(
    inputs: tuple[PinnedTensor, ...], outputs: tuple[PinnedTensor, ...], sentence: str
) -> None:
    assert PinnedSignature(inputs=inputs, outputs=outputs).difference(SIGNATURE) == f"model.toml pins the {sentence}"


def test_a_session_config_entry_that_names_files_is_refused(tmp_path: Path) -> None:
    key = "session.optimized_model_external_initializers_file_name"
    with pytest.raises(RepositoryError) as caught:
        declare(tmp_path, f'[session]\nconfig = {{ "{key}" = "/etc/cron.d/x" }}')
    assert str(caught.value).startswith(
        f"{tmp_path}/model.toml: session.config.{key}.[key]: a model may not set this entry of ONNX Runtime, which "
    )
    assert str(caught.value).endswith(f", got '{key}'")


def test_what_was_got_is_not_repeated_at_length(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError) as caught:
        declare(tmp_path, f"batch = '{'x' * 100_000}'")
    assert len(str(caught.value)) < 500


def test_a_declaration_is_no_larger_than_it_need_be(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError) as caught:
        declare(tmp_path, "#" * ((1 << 20) + 1))
    assert str(caught.value) == f"{tmp_path}/model.toml is larger than 1 MiB, the most that is read of such a file"


def test_a_link_that_leads_nowhere_is_a_declaration_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "model.toml").symlink_to("none")
    with pytest.raises(RepositoryError, match=r"model\.toml cannot be read: No such file or directory$"):
        Declaration.read(tmp_path)


def test_it_may_be_read_by_somebody_who_looks_closer(tmp_path: Path) -> None:
    (tmp_path / "model.toml").touch()
    assert Declaration.read(tmp_path, lambda file, most: b"batch = false") == Declaration(batch=False)


@pytest.mark.parametrize("part", ["a", '"a"', "'a'", "\"\" . ''", "a \t"])
@pytest.mark.parametrize("around", ["{} = 1", "[{}]", "labels = {{ {} = 1 }}"])
def test_a_key_that_would_take_minutes_is_refused_at_once(tmp_path: Path, part: str, around: str) -> None:
    with pytest.raises(RepositoryError) as caught:
        declare(tmp_path, around.format(".".join([part] * 50_000)))
    assert str(caught.value) == f"{tmp_path}/model.toml cannot be read: a key has more than 32 parts"


def test_dots_are_fine_elsewhere(tmp_path: Path) -> None:
    labels = ["." * 100, "a b. " * 100, "1.5, " * 100]
    assert declare(tmp_path, f"# {'. ' * 100}\n[labels]\ny = {labels}").labels == {"y": tuple(labels)}
