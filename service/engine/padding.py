"""Rows of different lengths share a run: padded to the longest, and cut back.

Only where `model.toml` declares it, with the values to pad with and the mask that tells the model where to look.
Padding is work for nothing, so only lengths within a ratio meet.
"""

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from service.engine.declaration import PaddingRule
from service.errors import RepositoryError
from service.tensors import Array, Datatype, Signature, Tensors, TensorSpec, limits_of


class Padding:
    """The declared axes of one model."""

    def __init__(self, signature: Signature, rules: Mapping[str, PaddingRule]) -> None:
        """`rules` by the axis's symbolic name. Raises RepositoryError where a rule does not fit the signature."""
        self._inputs = signature.inputs
        self._rules = rules
        for name, rule in rules.items():
            _check_rule(signature, name, rule)

    def key(self, tensors: Tensors) -> Hashable:
        """Requests whose keys are equal may be joined: equal shapes, but for padded axes of similar length."""
        return tuple([self._shape_key(spec, tensors[spec.name]) for spec in self._inputs])

    def join(self, requests: Sequence[Tensors]) -> Tensors:
        """Stack along the first axis, every padded axis as long as its longest."""
        return {spec.name: self._stack(spec, [tensors[spec.name] for tensors in requests]) for spec in self._inputs}

    def cut(self, spec: TensorSpec, output: Array, tensors: Tensors) -> Array:
        """One request's rows of an output, without what padding has added."""
        lengths = {
            name: size
            for given in self._inputs
            for name, size in zip(given.names, tensors[given.name].shape, strict=True)
            if name in self._rules
        }
        return output[tuple(slice(lengths.get(name)) for name in spec.names)]

    def stretched(self, tensors: Tensors, by: float) -> Tensors:
        """The same rows with every padded axis longer by a ratio, at least by one; what is added is padding."""
        result = {}
        for spec in self._inputs:
            tensor = tensors[spec.name]
            shape = [
                max(size + 1, math.ceil(size * by)) if name in self._rules else size
                for name, size in zip(spec.names, tensor.shape, strict=True)
            ]
            result[spec.name] = _padded(tensor, tuple(shape), self._value(spec))
        return result

    def _shape_key(self, spec: TensorSpec, tensor: Array) -> Hashable:
        return tuple(
            [
                self._bucket(name, size) if name in self._rules else size
                for name, size in zip(spec.names[1:], tensor.shape[1:], strict=True)
            ]
        )

    def _bucket(self, name: str, size: int) -> int:
        """Lengths in one bucket differ by less than the axis's ratio."""
        return int(math.log(size) / math.log(self._rules[name].max_waste)) if size else -1

    def _stack(self, spec: TensorSpec, tensors: Sequence[Array]) -> Array:
        longest = tuple(max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True))
        return np.concatenate([_padded(tensor, (len(tensor), *longest), self._value(spec)) for tensor in tensors])

    def _value(self, spec: TensorSpec) -> float | str:
        """What an input is padded with; one without a padded axis never needs it."""
        return next((rule.inputs[spec.name] for rule in self._rules.values() if spec.name in rule.inputs), 0)


def _padded(tensor: Array, shape: tuple[int, ...], value: float | str) -> Array:
    if tensor.shape == shape:
        return tensor
    padded = np.full(shape, value, dtype=tensor.dtype)
    padded[tuple(slice(size) for size in tensor.shape)] = tensor
    return padded


def _fits(spec: TensorSpec, value: float | str) -> bool:
    """Is it an element that the input can have, to the last digit?"""
    if spec.datatype is Datatype.BYTES or isinstance(value, str):
        return spec.datatype is Datatype.BYTES and isinstance(value, str)
    if spec.datatype.is_float:
        return True
    low, high = (0, 1) if spec.datatype is Datatype.BOOL else limits_of(spec.datatype)
    return low <= value <= high and value == int(value)


def _check_rule(signature: Signature, name: str, rule: PaddingRule) -> None:
    bearers = {spec.name for spec in signature.inputs if name in spec.names[1:]}
    if not signature.batch or not bearers:
        raise RepositoryError(f"padding in model.toml: no input has an axis {name!r} behind a batch axis")
    if bearers != rule.inputs.keys():
        raise RepositoryError(
            f"padding.{name} in model.toml: expected a value for each of {', '.join(sorted(bearers))}, "
            f"got {', '.join(sorted(rule.inputs))}"
        )
    for spec in signature.inputs:
        if spec.name in bearers and not _fits(spec, rule.inputs[spec.name]):
            raise RepositoryError(
                f"padding.{name} in model.toml: {rule.inputs[spec.name]!r} is no value of input {spec.name!r}, {spec}"
            )
    if rule.mask not in bearers:
        raise RepositoryError(f"padding.{name} in model.toml: the mask {rule.mask!r} is not an input with that axis")
