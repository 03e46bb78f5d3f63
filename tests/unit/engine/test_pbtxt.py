"""Triton's `config.pbtxt`: what is read of it, and what is not known."""

from pathlib import Path

import pytest

from service.engine import pbtxt
from service.errors import RepositoryError


def write(folder: Path, text: str) -> Path:
    file = folder / pbtxt.FILE
    file.write_text(text)
    return file


def test_what_is_known_is_read(tmp_path: Path) -> None:
    text = """
    name: "cat"  # a comment
    max_batch_size: 8
    input [ { name: "x", data_type: TYPE_FP32, dims: [ 3, -1 ] }, { name: "y" dims: 1 dims: 2 } ]
    instance_group { kind: KIND_GPU }
    parameters { key: "a" value: { string_value: "1" } }
    version_policy: { specific { versions: [ 1, 3 ] } }
    """
    config, unknown = pbtxt.read(write(tmp_path, text))
    assert (config.name, config.max_batch_size, unknown) == ("cat", 8, [])
    assert [(each.name, list(each.dims)) for each in config.input] == [("x", [3, -1]), ("y", [1, 2])]
    assert [(each.key, each.value.string_value) for each in config.parameters] == [("a", "1")]
    assert list(config.version_policy.specific.versions) == [1, 3]


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("", []),
        ("colour: RED", ["colour"]),
        ("colours: [RED, GREEN] name: 'cat'", ["colours"]),
        ("colour { depth: 8 name: 'x' }", ["colour"]),
        ("input [ { name: 'x' colour: RED }, { colour: [RED] } ]", ["input.colour"]),
        ("optimization < cuda { graphs: true } graph { level: 1 } >", ["optimization.cuda"]),
        ("sequence_batching { direct { } } response_cache { b: 1 a: 2 }", ["response_cache.a", "response_cache.b"]),
        ("parameters { key: 'a' value { string_value: 'b' } }", []),
        ("ensemble_scheduling { step [ { model_name: 'a', input_map { key: 'b' } }, { model_name: 'c' } ] }", []),
        ("colours [ { depth: 8 } ] # colours [\nname: 'sizes ['", ["colours"]),
    ],
)
def test_what_is_not_known_is_listed(tmp_path: Path, text: str, unknown: list[str]) -> None:
    assert pbtxt.read(write(tmp_path, text))[1] == unknown


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"max_batch_size: many", "Couldn't parse integer"),
        (b"input {", "Expected"),
        (b"instance_group { kind: KIND_TPU }", "KIND_TPU"),
        (b"name: '\xff'", "can't decode byte 0xff"),
    ],
)
def test_what_is_no_configuration_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / pbtxt.FILE
    file.write_bytes(content)
    with pytest.raises(RepositoryError) as caught:
        pbtxt.read(file)
    assert str(caught.value).startswith(f"{file} is not a ModelConfig in protobuf's text form: ")
    assert reason in str(caught.value)
