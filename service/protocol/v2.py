"""The Open Inference Protocol's inference request and answer, JSON with or without binary tensors behind it.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md. Where it is silent, Triton's habit or
the stricter reading decides; every refusal says which field, what was expected and what came.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from service import elements
from service.errors import MalformedRequest
from service.knobs import Limits
from service.protocol import binary, bounds, large, size, values
from service.protocol.classification import Classes, classes
from service.protocol.document import parse, said
from service.quoting import quoted
from service.tensors import DATATYPES, MAX_RANK, Array, Datatype, Signature, TensorSpec, weight

# It would change where the answer is, so it cannot be passed over in silence.
_SHARED_MEMORY: Final = "shared_memory_region"
# In a longer text a search would keep other threads waiting; numpy, which looks at the numbers then, does not.
_SHORT: Final = 1 << 20
NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """`binary` is None where the request does not say; `classes` is how many are wanted in place of the numbers."""

    name: str
    binary: bool | None = None
    classes: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a caller asks for. No outputs means all of them; `binary` is the default for those that do not say.

    `timeout` is in seconds, infinite where there is none; `priority` 1 is the most urgent, 0 says nothing.
    """

    inputs: dict[str, Array]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str | None = None
    binary: bool = False
    timeout: float = inf
    priority: int = 0
    allow_fallback: bool = False

    @property
    def weight(self) -> int:
        """The bytes of memory that the inputs take."""
        return sum(map(weight, self.inputs.values()))

    def wants_binary(self, name: str) -> bool:
        for output in self.outputs:
            if output.name == name and output.binary is not None:
                return output.binary
        return self.binary

    def classes(self, spec: TensorSpec, batch: bool) -> Classes | None:
        """None where the output's numbers are wanted. Raises MalformedRequest where it has none."""
        for output in self.outputs:
            if output.name == spec.name and output.classes:
                return classes(spec, output.classes, batch)
        return None


class OutputTensor(NamedTuple):
    """One output on its way out, and the form the caller wants it in."""

    name: str
    datatype: Datatype
    tensor: Array
    binary: bool
    classes: Classes | None = None

    def classified(self, bound: int) -> "OutputTensor":
        """The classes themselves, where they are wanted. Raises AnswerTooLarge where they are more than the bound."""
        if self.classes is None:
            return self
        return OutputTensor(self.name, Datatype.BYTES, self.classes.of(self.tensor, bound), self.binary)


def decode(body: bytes, json_length: int | None, signature: Signature, limits: Limits) -> InferRequest:
    """A request body as tensors.

    `json_length` is the value of Inference-Header-Content-Length: None for a body that is all JSON, 0 for one that is
    the single input itself. `signature` is that of the model. Raises MalformedRequest, SignatureMismatch.
    """
    if json_length == 0:
        return _decode_raw(body, signature, limits)
    if json_length is None or json_length == len(body):
        return _Decoder(body, memoryview(b""), signature, limits).request()
    if json_length > len(body):
        raise MalformedRequest(
            f"Inference-Header-Content-Length: expected a number in the range 0 to {len(body)}, "
            f"the length of the body, got {json_length}"
        )
    return _Decoder(body[:json_length], memoryview(body)[json_length:], signature, limits).request()


def encode(
    model: str,
    version: int,
    request_id: str,
    outputs: Sequence[OutputTensor],
    limits: Limits,
    parameters: Mapping[str, Any] = NOTHING,
) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON where binary tensors follow it, else None.

    Raises AnswerTooLarge.
    """
    outputs = [output.classified(limits.values) if output.classes else output for output in outputs]
    size.require([(output.tensor, output.binary) for output in outputs], limits.answer_bytes)
    blobs: list[bytes] = []
    tensors = [_encode_output(output, blobs) for output in outputs]
    document: dict[str, Any] = {"model_name": model, "model_version": str(version), "id": request_id}
    document["outputs"] = tensors
    if parameters:
        document["parameters"] = parameters
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # To look for a null is far cheaper than to look at every number, in a short text; there hardly ever is one.
    marked = (len(text) > _SHORT or b"null" in text) and [
        _mark_nonfinite(*pair) for pair in zip(tensors, outputs, strict=True)
    ]
    if marked and any(marked):
        text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    answer = b"".join((text, *blobs)) if blobs else text
    size.check(len(answer), limits.answer_bytes)
    return answer, len(text) if blobs else None


def tensor_document(name: str, datatype: Datatype, tensor: Array) -> dict[str, Any]:
    """A tensor as the protocol writes it in JSON; for a codec that knows numpy arrays."""
    return {"name": name, "datatype": datatype.name, "shape": tensor.shape, "data": elements.encode(tensor)}


def _encode_output(output: OutputTensor, blobs: list[bytes]) -> dict[str, Any]:
    if not output.binary:
        return tensor_document(output.name, output.datatype, output.tensor)
    blob = binary.encode(output.tensor)
    blobs.append(blob)
    return {
        "name": output.name,
        "datatype": output.datatype.name,
        "shape": output.tensor.shape,
        "parameters": {"binary_data_size": len(blob)},
    }


def _mark_nonfinite(document: dict[str, Any], output: OutputTensor) -> bool:
    """Say of NaN and infinities, for which JSON has only `null`, that they are; a binary tensor is exact."""
    if output.binary or output.tensor.dtype.kind != "f" or np.isfinite(output.tensor).all():
        return False
    document["parameters"] = {"nonfinite": True}
    return True


def _decode_raw(body: bytes, signature: Signature, limits: Limits) -> InferRequest:
    name, tensor = binary.decode_raw(signature, memoryview(body))
    what = f"input {name!r}"
    bounds.check_elements(what, tensor.shape, limits.elements)
    bounds.check_strings(what, tensor, len(body), limits.string_bytes)
    return InferRequest({name: tensor}, binary=True)


class _Decoder:
    """One request being read: the parsed document, and a cursor in the bytes behind it."""

    def __init__(self, document: bytes, blobs: memoryview, signature: Signature, limits: Limits) -> None:
        read = large.parse(document, limits)
        # Only lists are looked at for booleans; where simdjson has read the numbers there are few.
        self._booleans = read is not None or b"true" in document or b"false" in document
        self._document = read or parse(document, limits)
        self._size = len(document) + len(blobs)
        self._limits = limits
        self._signature = signature
        self._blobs = blobs
        self._position = 0

    def request(self) -> InferRequest:
        document = self._document
        parameters = values.an_object("'parameters'", document.get("parameters"))
        inputs = self._inputs()
        if left := len(self._blobs) - self._position:
            raise MalformedRequest(f"{left} bytes are left over behind the inputs' binary data")
        return InferRequest(
            inputs=inputs,
            outputs=tuple(_outputs(document["outputs"], self._limits.tensors)) if "outputs" in document else (),
            id=values.identity(document.get("id")),
            **(_options(parameters) if parameters else {}),
        )

    def _inputs(self) -> dict[str, Array]:
        if "inputs" not in self._document:
            raise MalformedRequest("'inputs' is missing: expected an array of tensors")
        inputs = dict(values.named("inputs", self._document["inputs"], self._limits.tensors))
        self._signature.require(inputs)  # before any work is done for a tensor that nobody wants
        return {name: self._tensor(f"input {name!r}", tensor) for name, tensor in inputs.items()}

    def _tensor(self, what: str, tensor: dict[str, Any]) -> Array:
        datatype = _datatype(what, tensor.get("datatype"))
        shape = _shape(what, tensor.get("shape"))
        bounds.check_elements(what, shape, self._limits.elements)
        if datatype is Datatype.BYTES:  # Python objects, which cost many times the bytes of a short one
            bounds.check_elements(what, shape, self._limits.values)
        array = self._elements(what, tensor, datatype, shape)
        bounds.check_strings(what, array, self._size, self._limits.string_bytes)
        return array

    def _elements(self, what: str, tensor: dict[str, Any], datatype: Datatype, shape: tuple[int, ...]) -> Array:
        size = None
        if "parameters" in tensor:
            size = values.an_object(f"{what}: 'parameters'", tensor["parameters"]).get("binary_data_size")
        data = tensor.get("data")
        if size is not None:
            if data is not None:
                raise MalformedRequest(f"{what}: expected 'data' or 'parameters.binary_data_size', got both")
            return binary.decode(what, datatype, shape, self._take(what, size))
        if data is None:
            if prod(shape) > 0:
                raise MalformedRequest(f"{what}: expected 'data' or 'parameters.binary_data_size', got neither")
            data = []
        if isinstance(data, large.Numbers):
            return data.decode(what, datatype, shape)
        return elements.decode(what, datatype, shape, data, self._booleans)

    def _take(self, what: str, size: Any) -> memoryview:
        if type(size) is not int or size < 0:
            raise MalformedRequest(f"{what}: 'binary_data_size': expected a number of bytes, got {said(size)}")
        blob = self._blobs[self._position : self._position + size]
        if len(blob) < size:
            raise MalformedRequest(f"{what}: expected {size} bytes of binary data, {len(blob)} are left in the body")
        self._position += size
        return blob


def _outputs(value: Any, most: int) -> Iterator[RequestedOutput]:
    for name, item in values.named("outputs", [] if value is None else value, most):
        what = f"output {quoted(name)}: 'parameters"
        parameters = values.an_object(f"{what}'", item.get("parameters"))
        if _SHARED_MEMORY in parameters:
            raise MalformedRequest(f"{what}.{_SHARED_MEMORY}' is of an extension that GET /v2 does not list")
        binary = values.boolean(f"{what}.binary_data'", parameters.get("binary_data"))
        number = values.count(f"{what}.classification'", parameters.get("classification"), "a number of classes")
        yield RequestedOutput(name, binary, number)


def _datatype(what: str, value: Any) -> Datatype:
    if type(value) is str and value in DATATYPES:
        return DATATYPES[value]
    raise MalformedRequest(f"{what}: 'datatype': expected one of {', '.join(DATATYPES)}, got {said(value)}")


def _shape(what: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and len(value) > MAX_RANK:
        raise MalformedRequest(f"{what}: 'shape': expected at most {MAX_RANK} dimensions, got {len(value)}")
    for length in value if isinstance(value, list) else [None]:
        if type(length) is not int or length < 0:
            raise MalformedRequest(f"{what}: 'shape': expected an array of integers from 0 up, got {said(value)}")
    return tuple(value)


def _options(parameters: dict[str, Any]) -> dict[str, Any]:
    """Those of a request's parameters that mean something here."""
    wanted = values.boolean("'parameters.binary_data_output'", parameters.get("binary_data_output"))
    return {"binary": wanted or False, **values.options(parameters)}
