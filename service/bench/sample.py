"""The request that is sent again and again: one that the model has answered with 200."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from service import elements
from service.bench import request
from service.bench.failures import BenchFailed
from service.bench.tally import OK
from service.bench.target import Answer, Target
from service.engine import samples
from service.errors import MalformedRequest
from service.tensors import DATATYPES, Array, Signature, Tensors, datatype_of, describe


@dataclass(frozen=True, slots=True)
class Sample:
    """`body` goes with `headers`; `what` tells people where it comes from and what is in it."""

    body: bytes
    headers: dict[str, str]
    what: str

    def sent_to(self, target: Target) -> Answer:
        return target.ask("POST", f"{target.path}/infer", self.body, **_JSON, **self.headers)

    def as_http(self, target: Target) -> bytes:
        """All of it, as bytes."""
        return request.post(f"{target.path}/infer", self.body, {**target.headers, **_JSON, **self.headers})


_JSON: Final = {"content-type": "application/json"}


def read(file: Path, content: bytes) -> Sample:
    """One from a JSON document of the protocol. Raises BenchFailed."""
    try:
        inputs = orjson.loads(content)["inputs"]
        shapes = ", ".join(f"{each['name']} {describe(DATATYPES[each['datatype']], each['shape'])}" for each in inputs)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        hint = 'expected the Open Inference Protocol\'s request as JSON, {"inputs": [...]}'
        raise BenchFailed(f"{file}: {hint}; {reason}") from None
    return Sample(content, {}, f"{shapes}, from {file}")


def found(target: Target, given: Sample | None, *, is_binary: bool) -> Sample:
    """The one that was given, or the first that works of those that can be made up. Raises BenchFailed if none does."""
    candidates = [given] if given else made_up(target, target.signature(), is_binary=is_binary)
    for sample in candidates:
        answer = sample.sent_to(target)
        if answer.status == OK:
            return sample
    if given:
        target.signature()  # what is wrong with the target is said first
        raise BenchFailed(f"{given.what}: model {target.name!r} answers {answer}")
    raise BenchFailed(
        f"model {target.name!r} answers errors only to what was made up for it, at last {answer}; give a request that "
        "it takes with --input FILE"
    )


def made_up(target: Target, signature: Signature, *, is_binary: bool) -> Iterator[Sample]:
    """What the service's own documentation shows, as far as it has one; random numbers; ones; zeros."""
    if (tensors := _documented(target)) is not None:
        yield _sample(tensors, "the example of its /openapi.json", is_binary)
    ones, zeros = samples.made_up(signature)
    for what, tensors in (("random numbers", _random(ones)), ("ones", ones), ("zeros", zeros)):
        yield _sample(tensors, what, is_binary)


def _documented(target: Target) -> Tensors | None:
    answer = target.ask("GET", f"{target.prefix}/openapi.json")
    try:
        operation = answer.document()["paths"][f"{target.path.removeprefix(target.prefix)}/infer"]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        return dict(map(_tensor, example["inputs"]))
    except (KeyError, TypeError, ValueError, MalformedRequest):
        return None  # another server's, or a model whose example would be too long


def _tensor(tensor: Any) -> tuple[str, Array]:
    name = tensor["name"]
    return name, elements.decode(name, DATATYPES[tensor["datatype"]], tensor["shape"], tensor["data"])


def _sample(tensors: Tensors, what: str, is_binary: bool) -> Sample:
    shapes = ", ".join(f"{name} {describe(datatype_of(array), array.shape)}" for name, array in tensors.items())
    if is_binary:
        body, headers = request.binary_body(tensors)
        return Sample(body, headers, f"{shapes}, {len(body):,} bytes, binary, {what}")
    body = request.infer_body(tensors)
    return Sample(body, {}, f"{shapes}, {len(body):,} bytes of JSON, {what}")


def _random(tensors: Tensors) -> Tensors:
    """Floats from 0 to 1 where there are floats: a number of one digit is read faster than others are."""
    random = np.random.default_rng(0)
    return {
        name: random.random(array.shape).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in tensors.items()
    }
