"""Triton's `config.pbtxt`, as far as it matters here: a ModelConfig message in protobuf's text form.

Below is the part of that message that has a meaning for an ONNX model (github.com/triton-inference-server/common,
protobuf/model_config.proto). In text, fields go by their names alone, so the numbers are ours. Fields that are not
below are no error, and can be listed.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from service.engine import places
from service.errors import RepositoryError

FILE: Final = "config.pbtxt"
_MOST: Final = 1 << 20
_TYPES: Final = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")
_ENUMS: Final = {
    "DataType": tuple(f"TYPE_{name}" for name in ("INVALID", *_TYPES, "FP16", "FP32", "FP64", "STRING", "BF16")),
    "Kind": ("KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"),
    "TimeoutAction": ("REJECT", "DELAY"),
    "Format": ("FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"),
}
# message -> "field type", where a trailing * means repeated. A map is a list of keys with their values.
_SCHEMA: Final = {
    "Config": (
        *("name string", "platform string", "backend string", "runtime string", "default_model_filename string"),
        *("max_batch_size int32", "input Input*", "output Output*", "version_policy VersionPolicy"),
        *("dynamic_batching DynamicBatching", "sequence_batching Opaque", "ensemble_scheduling Opaque"),
        *("instance_group InstanceGroup*", "optimization Optimization", "parameters Parameter*"),
        *("model_warmup WarmUp*", "response_cache ResponseCache", "model_transaction_policy TransactionPolicy"),
    ),
    "Input": (
        *("name string", "data_type DataType", "format Format", "dims int64*", "reshape Reshape"),
        *("is_shape_tensor bool", "allow_ragged_batch bool", "optional bool"),
    ),
    "Output": (
        *("name string", "data_type DataType", "dims int64*", "reshape Reshape", "label_filename string"),
        "is_shape_tensor bool",
    ),
    "Reshape": ("shape int64*",),
    "VersionPolicy": ("latest Latest", "all Opaque", "specific Specific"),
    "Latest": ("num_versions int64",),
    "Specific": ("versions int64*",),
    "DynamicBatching": (
        *("preferred_batch_size int32*", "max_queue_delay_microseconds int64", "preserve_ordering bool"),
        *("priority_levels int64", "default_priority_level int64", "default_queue_policy QueuePolicy"),
        "priority_queue_policy Opaque*",
    ),
    "QueuePolicy": (
        *("timeout_action TimeoutAction", "default_timeout_microseconds int64", "allow_timeout_override bool"),
        "max_queue_size int64",
    ),
    "InstanceGroup": ("name string", "kind Kind", "count int32", "gpus int32*"),
    "Optimization": ("graph GraphLevel", "execution_accelerators Accelerators"),
    "GraphLevel": ("level int32",),
    "Accelerators": ("gpu_execution_accelerator Accelerator*", "cpu_execution_accelerator Accelerator*"),
    "Accelerator": ("name string", "parameters Opaque*"),
    "Parameter": ("key string", "value ParameterValue"),
    "ParameterValue": ("string_value string",),
    "WarmUp": ("name string", "batch_size int32", "inputs WarmUpInput*", "count int32"),
    "WarmUpInput": ("key string", "value WarmUpTensor"),
    "WarmUpTensor": (
        *("data_type DataType", "dims int64*", "zero_data bool", "random_data bool", "input_data_file string"),
    ),
    "ResponseCache": ("enable bool",),
    "TransactionPolicy": ("decoupled bool",),
    # What is within it does not matter.
    "Opaque": (),
}
_SCALARS: Final = {"string": 9, "int64": 3, "int32": 5, "bool": 8}  # FieldDescriptorProto.Type
_ENUM, _MESSAGE = 14, 11
# `step [`, and what may look like it within a string or a comment.
_LIST: Final = re.compile(r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|#[^\n]*)|(\w+)(\s*)\[""")


def read(file: Path) -> tuple[Any, list[str]]:
    """The message, and the paths of the fields that are not in our part of it. Raises RepositoryError."""
    try:
        text = _with_colons(places.read(file, _MOST).decode())
        message = text_format.Parse(text, _config_class()(), allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise RepositoryError(f"{file} is not a ModelConfig in protobuf's text form: {reason}") from None
    return message, sorted({path for path in map(_outside, _paths(text)) if path})


def _with_colons(text: str) -> str:
    """`step [` becomes `step: [`: protobuf takes both where it knows the field, and only the latter to skip it."""
    return _LIST.sub(lambda found: found[1] or f"{found[2]}:{found[3]}[", text)


@cache
def _config_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="service/engine/pbtxt", package="triton_part", syntax="proto2")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, start=1):
            label, _, kind = field.partition(" ")
            _add_field(message, number, label, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("triton_part.Config"))


def _add_field(message: Any, number: int, label: str, kind: str) -> None:
    one = kind.rstrip("*")
    scalar = _SCALARS.get(one)
    message.field.add(
        name=label,
        number=number,
        label=3 if kind.endswith("*") else 1,  # repeated, optional
        type=scalar or (_ENUM if one in _ENUMS else _MESSAGE),
        type_name=None if scalar else f".triton_part.{one}",
    )


def _outside(path: tuple[str, ...]) -> str | None:
    """The path up to its first field that the schema does not have; None for one that it has."""
    kind = "Config"
    for depth, name in enumerate(path, start=1):
        if kind not in _SCHEMA or not _SCHEMA[kind]:
            return None
        fields = dict(field.split(" ") for field in _SCHEMA[kind])
        if name not in fields:
            return ".".join(path[:depth])
        kind = fields[name].rstrip("*")
    return None


def _paths(text: str) -> Iterator[tuple[str, ...]]:
    """Of every field that is set, whether the schema has it or not; the text has been parsed already."""
    tokens = text_format.Tokenizer(text.splitlines())
    path: tuple[str, ...] = ()
    brackets = [("{", path)]  # each with the field that it belongs to
    before = ""
    while not tokens.AtEnd():
        token = tokens.token
        bracket, parent = brackets[-1]
        if token in ("{", "<", "["):
            brackets.append((token, path))
        elif token in ("}", ">", "]"):
            _, path = brackets.pop()
        elif token.isidentifier() and bracket != "[" and before != ":":  # else it is a value
            path = (*parent, token)
            yield path
        before = token
        tokens.NextToken()
