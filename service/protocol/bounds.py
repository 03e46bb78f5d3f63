"""How much one tensor of a request may hold."""

from collections.abc import Sequence
from math import prod

from service.errors import MalformedRequest
from service.protocol.document import said
from service.tensors import Array


def check_elements(what: str, shape: Sequence[int], most: int) -> None:
    """A dimension of 0 hides no other: a model that sums over it would have to answer with all of those."""
    if prod(shape) > most or (0 in shape and prod([length or 1 for length in shape]) > most):
        raise MalformedRequest(f"{what}: 'shape': expected at most {most} elements, got {said(list(shape))}")


def check_strings(what: str, tensor: Array, size: int, most: int) -> None:
    """No string is longer than the `size` bytes that all came in."""
    if size <= most or not tensor.dtype.hasobject:
        return
    for index, text in enumerate(tensor.reshape(-1)):
        if len(text) * 4 > most and (length := len(text.encode())) > most:
            raise MalformedRequest(f"{what}: element {index}: expected at most {most} bytes, got {length}")
