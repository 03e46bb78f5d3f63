"""How large a tensor is in an answer: known before it is written, so that one that is refused costs no memory."""

from collections.abc import Sequence
from typing import Final

import orjson

from service import elements
from service.errors import AnswerTooLarge
from service.tensors import Array

# -1.7976931348623157e308 and its comma.
_LONGEST_NUMBER: Final = 25
# What a string's character becomes at most: \u0001 in JSON, four bytes in UTF-8. Its quotes and its comma, its length.
_JSON_CHARACTER, _JSON_AROUND = 6, 3
_UTF8_CHARACTER, _LENGTH = 4, 4
# What is written in less than a millisecond: elements one by one, text, and numbers' own bytes.
_FEW: Final = 16 << 10
_SHORT_TEXT: Final = 256 << 10
_FEW_BYTES: Final = 4 << 20


def require(tensors: Sequence[tuple[Array, bool]], most: int) -> None:
    """Tensors, and whether each is binary, must have a chance to fit. Raises AnswerTooLarge.

    To be sure, all of a tensor has to be looked at, so that is done only where they might not.
    """
    room = most
    for tensor, binary in tensors:
        room -= at_most(tensor, binary)
    if room >= 0:
        return
    total = 0
    for tensor, binary in tensors:
        total += exactly(tensor, binary, most - total)
        check(total, most)


def is_long(tensor: Array, binary: bool) -> bool:
    """Would to write it keep others waiting?"""
    if not tensor.dtype.hasobject:
        return tensor.nbytes > _FEW_BYTES if binary else tensor.size > _FEW
    return tensor.size > _FEW or at_most(tensor, binary) > _SHORT_TEXT


def check(length: int, most: int) -> None:
    """Raises AnswerTooLarge."""
    if length > most:
        raise AnswerTooLarge(
            f"the answer is larger than {most} bytes, the most that is sent; ask for fewer outputs or rows"
        )


def at_most(tensor: Array, binary: bool) -> int:
    """Bytes that the elements do not exceed, found without a look at the numbers."""
    if not tensor.dtype.hasobject:
        return tensor.nbytes if binary else tensor.size * _LONGEST_NUMBER
    characters = sum(map(len, tensor.reshape(-1)))
    if binary:
        return characters * _UTF8_CHARACTER + tensor.size * _LENGTH
    return characters * _JSON_CHARACTER + tensor.size * _JSON_AROUND


def exactly(tensor: Array, binary: bool, enough: int) -> int:
    """The bytes of the elements; where they are more than `enough`, only that."""
    if not tensor.dtype.hasobject and binary:
        return tensor.nbytes
    flat = tensor.reshape(-1)
    total = 0
    for start in range(0, len(flat), elements.CHUNK):
        chunk = elements.encode(flat[start : start + elements.CHUNK])
        if binary:
            total += sum(_LENGTH + len(text.encode()) for text in chunk)
        else:  # but for one of its brackets, which is a comma in the whole
            total += len(orjson.dumps(chunk, option=orjson.OPT_SERIALIZE_NUMPY)) - 1
        if total > enough:
            break
    return total
